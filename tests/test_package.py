"""What importing the package loads, and what makes the plugin register itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ovseg_d2

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"cv2", "matplotlib", "open_clip", "scipy", "skimage", "timm", "torchvision"}

# In a fork for each statement: what the catalogs and registries hold after it.
REGISTERED = """
import json, os, sys
import open_clip  # what takes long is loaded once, for all forks
found = {}
for statement in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    if not os.fork():
        exec(statement)
        from ovseg_d2.d2.data import DatasetCatalog
        from ovseg_d2.d2.modeling import META_ARCH_REGISTRY
        there = "ovseg_shapes_val" in DatasetCatalog.list() and "MaskCLIP" in META_ARCH_REGISTRY
        os.write(writer, b"registered" if there else b"nothing")
        os._exit(0)
    os.wait()
    os.close(writer)
    found[statement] = os.read(reader, 100).decode()
print(json.dumps(found))
"""


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("room", ["ops", "losses"])
def test_a_pure_function_loads_torch_and_its_rooms_alone(room):
    code = "import importlib, json, sys; importlib.import_module(sys.argv[1])"
    loaded = set(run(f"{code}; print(json.dumps(list(sys.modules)))", f"ovseg_d2.{room}"))
    assert "torch" in loaded and not loaded & HEAVY
    rooms = {name.split(".")[1] for name in loaded if name.startswith("ovseg_d2.")}
    assert rooms == {"ops", room}


def test_every_way_in_registers_the_plugin():
    statements = [
        "from ovseg_d2 import load_config",
        "from ovseg_d2 import plugin",
        "from ovseg_d2.config import load_config",
        "import ovseg_d2.d2.data",
        "import ovseg_d2.data.loaders",
        "import ovseg_d2.evaluation",
        "import ovseg_d2.plugin.maskclip",
        "import ovseg_d2.engine.run",
        "import ovseg_d2.segmenter",
    ]
    from ovseg_d2.d2 import HAS_DETECTRON2

    if HAS_DETECTRON2:
        statements += [
            "import ovseg_d2; import detectron2.data",
            "import detectron2.data; import ovseg_d2",
        ]
    found = run(REGISTERED, json.dumps(statements))
    assert found == dict.fromkeys(statements, "registered")


def test_an_absent_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nowhere'"):
        _ = ovseg_d2.nowhere
