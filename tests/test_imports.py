"""Rules of imports: who may import whom, and that importing touches nothing."""

import ast
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ovseg_d2"

PLAIN_HALF = frozenset(
    "vocab ops clip text losses nets systems masks mining checkpoints viz".split()
)
BELOW_ENGINE = PLAIN_HALF | {"d2", "config", "data", "evaluation", "plugin"}

# Who may import whom, beside itself. A room is the first name below the package; those of OPEN,
# which read, write and download files and name what is wrong with images, are open to all of them.
OPEN = frozenset(
    {"downloads", "files", "image_errors", "json_files", "parent_watch", "weight_files"}
)
MAY_IMPORT: dict[str, frozenset[str]] = {
    room: frozenset(rooms)
    for room, rooms in {
        "downloads": (),
        "files": (),
        "json_files": (),
        "image_errors": (),
        "parent_watch": (),
        "weight_files": (),
        "vocab": (),
        "ops": (),
        "checkpoints": (),
        "clip": ("ops", "checkpoints"),
        "losses": ("ops",),
        "text": ("vocab", "ops", "clip"),
        "nets": ("ops", "losses"),
        "masks": ("ops", "clip"),
        "systems": ("vocab", "ops", "clip", "text", "losses", "nets", "masks"),
        "mining": ("vocab", "ops", "clip", "text", "masks", "systems"),
        "viz": ("vocab", "ops"),
        "d2": (),
        "config": ("d2",),
        "data": ("vocab", "ops", "masks", "d2", "config"),
        "evaluation": ("vocab", "ops", "d2", "config"),
        "plugin": PLAIN_HALF | {"d2", "config"},
        "engine": BELOW_ENGINE,
        "prepare": BELOW_ENGINE | {"engine"},
        "segmenter": BELOW_ENGINE | {"engine"},
        "__init__": BELOW_ENGINE | {"engine", "prepare", "segmenter"},
        "tools": BELOW_ENGINE | {"engine", "prepare", "segmenter", "__init__"},
    }.items()
}

# What only some rooms may import from outside.
ONLY_IN: dict[str, frozenset[str]] = {
    "detectron2": frozenset({"d2"}),
    "fvcore": frozenset(MAY_IMPORT) - PLAIN_HALF,
    "iopath": frozenset(MAY_IMPORT) - PLAIN_HALF,
    "yacs": frozenset(MAY_IMPORT) - PLAIN_HALF,
}


@dataclass(frozen=True)
class Imported:
    """One import: the line, and the full name of a module or of a name in one."""

    line: int
    name: str


def imports_of(source: str, module: str, is_package: bool) -> Iterator[Imported]:
    """Find every import, wherever it stands, relative ones and `import_module("...")` too.

    Args:
        source: text of the module.
        module: its full name, such as "ovseg_d2.ops.ema".
        is_package: whether it is an `__init__`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Imported(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield Imported(node.lineno, f"{base}.{alias.name}")
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else None
            called = node.func.id if isinstance(node.func, ast.Name) else called
            if called in ("import_module", "__import__"):
                argument = node.args[0]
                known = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                yield Imported(node.lineno, argument.value if known else "<computed>")


def room_of(name: str, rooms: frozenset[str]) -> str:
    """Return the room that a full name of ours belongs to: what is no room is in `__init__`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in rooms else "__init__"


def violations(source: str, module: str, is_package: bool, room: str, rooms: frozenset[str]):
    """List what a module imports against the table, one sentence each."""
    if room not in MAY_IMPORT:
        return [f"{module} is in the room {room!r}, which the table does not know"]
    allowed = MAY_IMPORT[room] | OPEN | {room}
    found = []
    for imported in imports_of(source, module, is_package):
        top = imported.name.split(".")[0]
        if imported.name == "<computed>":
            if room != "d2":
                found.append(f"{module}:{imported.line} imports a computed name")
        elif top == PACKAGE:
            other = room_of(imported.name, rooms)
            if other not in allowed:
                found.append(f"{module}:{imported.line} ({room}) imports {imported.name} ({other})")
        elif room not in ONLY_IN.get(top, frozenset(MAY_IMPORT)):
            found.append(f"{module}:{imported.line} ({room}) imports {imported.name}")
    return found


def rooms_of(root: Path) -> frozenset[str]:
    """List the rooms that are there: folders with an `__init__` and single modules."""
    package = root / PACKAGE
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    return frozenset(folders | {path.stem for path in package.glob("*.py")})


def module_name(path: Path, root: Path) -> str:
    """Return the full name of the module in a file below `root`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def check_tree(root: Path) -> list[str]:
    """List all violations in the package and the tools below `root`."""
    rooms, found = rooms_of(root), []
    for path in sorted([*(root / PACKAGE).rglob("*.py"), *(root / "tools").rglob("*.py")]):
        name = module_name(path, root)
        parts = path.relative_to(root).with_suffix("").parts
        room = "tools" if parts[0] == "tools" else parts[1]
        source = path.read_text(encoding="utf-8")
        found += violations(source, name, path.name == "__init__.py", room, rooms)
    return found


def test_import_rules():
    assert check_tree(ROOT) == []


def rooms_in(cell: str) -> frozenset[str]:
    """The rooms in a cell of a Markdown table."""
    return frozenset(re.findall(r"`(\w+)`", cell)) | (
        PLAIN_HALF if "the plain half" in cell else frozenset()
    )


def test_architecture_page_has_the_import_table():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("<!-- import table -->")[2].partition("<!-- end of import table -->")[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", table, re.MULTILINE)
    assert {room: rooms_in(cell) for room, cell in rows} == {
        room: rooms for room, rooms in MAY_IMPORT.items() if room not in OPEN
    }
    described = re.findall(r"^\| `(\w+)` \| \S", page.partition("<!-- import")[0], re.MULTILINE)
    assert sorted(described) == sorted(MAY_IMPORT)


def test_folders_of_modules_are_packages():
    folders = {path.parent for path in (ROOT / PACKAGE).rglob("*.py")}
    assert [str(path) for path in folders if not (path / "__init__.py").is_file()] == []


ROOMS = frozenset(MAY_IMPORT)


@pytest.mark.parametrize(
    ("room", "module", "source"),
    [
        ("ops", "ovseg_d2.ops.ema", "from ovseg_d2.vocab import Vocabulary"),
        ("ops", "ovseg_d2.ops.ema", "import ovseg_d2.clip.tower"),
        ("ops", "ovseg_d2.ops.ema", "from ovseg_d2 import clip"),
        ("ops", "ovseg_d2.ops.ema", "from ..clip import tower"),
        ("ops", "ovseg_d2.ops.ema", "from .. import clip"),
        ("ops", "ovseg_d2.ops.ema", "import ovseg_d2"),
        ("ops", "ovseg_d2.ops.ema", "from ovseg_d2 import __version__"),
        ("ops", "ovseg_d2.ops.ema", "def f():\n    from ovseg_d2.d2.config import CfgNode"),
        (
            "ops",
            "ovseg_d2.ops.ema",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ovseg_d2.d2.config",
        ),
        ("ops", "ovseg_d2.ops.ema", "import importlib\nimportlib.import_module('ovseg_d2.clip')"),
        (
            "ops",
            "ovseg_d2.ops.ema",
            "from importlib import import_module as f\n__import__('x' + y)",
        ),
        ("text", "ovseg_d2.text.bank", "from ovseg_d2.losses import contrastive"),
        ("viz", "ovseg_d2.viz.overlay", "from ovseg_d2.data.images import read_image"),
        ("data", "ovseg_d2.data.images", "from ovseg_d2.clip import tower"),
        ("evaluation", "ovseg_d2.evaluation.results", "import ovseg_d2.data"),
        ("plugin", "ovseg_d2.plugin.adapters", "import ovseg_d2.data"),
        ("engine", "ovseg_d2.engine.trainer", "from ovseg_d2.segmenter import Segmenter"),
        ("engine", "ovseg_d2.engine.trainer", "from ovseg_d2.prepare import mask_job"),
        ("d2", "ovseg_d2.d2.standin.config", "from ovseg_d2.config import add_ovseg_config"),
        ("files", "ovseg_d2.files", "import ovseg_d2.ops"),
        ("weight_files", "ovseg_d2.weight_files.state", "from ovseg_d2.clip import weights"),
        ("systems", "ovseg_d2.systems.maskclip", "from detectron2.config import get_cfg"),
        ("plugin", "ovseg_d2.plugin.adapters", "import detectron2"),
        ("tools", "tools.demo", "from detectron2.config import get_cfg"),
        ("systems", "ovseg_d2.systems.maskclip", "from fvcore.nn import FlopCountAnalysis"),
        ("clip", "ovseg_d2.clip.load", "from iopath.common.file_io import PathManager"),
        ("clip", "ovseg_d2.clip.load", "import yacs.config as c"),
        ("attic", "ovseg_d2.attic.old", "import torch"),
    ],
)
def test_violations_finds_forbidden_imports(room, module, source):
    assert len(violations(source, module, False, room, ROOMS)) == 1


@pytest.mark.parametrize(
    ("room", "module", "is_package", "source"),
    [
        ("ops", "ovseg_d2.ops.ema", False, "import torch\nfrom ovseg_d2.files import WriteError"),
        ("ops", "ovseg_d2.ops.ema", False, "from . import pool\nfrom .pool import pool_masks"),
        ("ops", "ovseg_d2.ops", True, "from .ema import update_ema\nfrom . import pool"),
        ("text", "ovseg_d2.text.bank", False, "from ovseg_d2 import clip, ops, vocab"),
        ("text", "ovseg_d2.text.bank", False, "from ..clip.tower import load_clip"),
        ("d2", "ovseg_d2.d2.config", False, "import fvcore\nfrom detectron2.config import get_cfg"),
        ("d2", "ovseg_d2.d2", True, "from importlib import import_module\nimport_module(name)"),
        ("tools", "tools.demo", False, "import ovseg_d2\nfrom ovseg_d2 import __version__"),
        ("segmenter", "ovseg_d2.segmenter", False, "from ovseg_d2.engine.trainer import Trainer"),
        ("__init__", "ovseg_d2", True, "from . import plugin\nfrom .segmenter import Segmenter"),
    ],
)
def test_violations_allows_permitted_imports(room, module, is_package, source):
    assert violations(source, module, is_package, room, ROOMS) == []


def test_check_tree_walks_the_whole_tree(tmp_path):
    for name, source in {
        "ovseg_d2/__init__.py": "from . import ops",
        "ovseg_d2/ops/__init__.py": "",
        "ovseg_d2/ops/deep/__init__.py": "",
        "ovseg_d2/ops/deep/a.py": "from ...clip import tower",
        "ovseg_d2/clip/__init__.py": "import ovseg_d2.ops.deep.a",
        "ovseg_d2/config.py": "import ovseg_d2.clip",
        "tools/demo.py": "import detectron2",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    assert [sentence.split()[0] for sentence in check_tree(tmp_path)] == [
        "ovseg_d2.config:1",
        "ovseg_d2.ops.deep.a:1",
        "tools.demo:1",
    ]


# Runs in a process of its own. What comes from outside is imported first, so that only our own
# modules are watched, each group of them in a fork that has seen none of the others.
PROBE = textwrap.dedent(
    """
    import importlib, importlib.util, json, logging, os, random, sys

    package, root, outside, groups = json.loads(sys.argv[1])
    sys.path.insert(0, root)
    for name in outside:
        try:
            importlib.import_module(name)
        except ImportError:
            # A name in a module, or something optional; ours says itself what it cannot do without.
            pass
    import numpy as np, torch

    spec = importlib.util.find_spec("detectron2")
    real = spec is not None and spec.origin is not None
    homes = [os.path.join(root, package), sys.prefix, sys.base_prefix]
    homes += [os.path.dirname(sys.modules[name].__file__) for name in outside
              if getattr(sys.modules.get(name), "__file__", None)]
    if real:
        homes.append(os.path.dirname(spec.origin))
    homes = tuple(os.path.realpath(home) + os.sep for home in homes)
    touched = []
    watching = False

    def watch(event, args):
        if not watching:
            return
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int):
                return
            path = os.path.realpath(os.fsdecode(path))
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes or not path.startswith(homes):
                touched.append(f"{'writes' if writes else 'reads'} {path}")
        elif event.startswith(("socket.", "urllib.", "http.")):
            touched.append(f"network: {event}")
            raise OSError("no network here")
        elif event.startswith(("subprocess.", "os.system", "os.mkdir", "os.remove", "os.rename",
                               "os.rmdir", "os.putenv", "shutil.")):
            touched.append(event)

    def state():
        return {
            "the state of random": random.getstate(),
            "the state of numpy's generator": repr(np.random.get_state(legacy=False)),
            "the state of torch's generator": torch.get_rng_state().tolist(),
            "the number of threads": torch.get_num_threads(),
            "the default dtype": str(torch.get_default_dtype()),
            "the gradient mode": torch.is_grad_enabled(),
            "the environment": dict(os.environ),
            "the working folder": os.getcwd(),
            "the root logger": (logging.root.level, repr(logging.root.handlers)),
            "CUDA": torch.cuda.is_initialized(),
        }

    def probe(module):
        global watching
        touched.clear()
        before, watching = state(), True
        try:
            importlib.import_module(module)
        except BaseException as error:
            touched.append(f"raises {type(error).__name__}: {error}")
        watching = False
        after = state()
        touched.extend(f"changes {key}" for key in before if before[key] != after[key])
        for name, loaded in list(sys.modules.items()):
            if name.split(".")[0] == "detectron2":
                # Its projects lie beside it in a checkout, so only our own folder tells.
                file = os.path.realpath(getattr(loaded, "__file__", None) or root)
                ours = not os.path.isfile(file) or file.startswith(homes[0])
                if ours or not real:
                    touched.append(f"stands in sys.modules as {name}")
        return list(touched)

    sys.addaudithook(watch)
    found = {}
    for group in groups:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with os.fdopen(writer, "w") as pipe:
                for module in group:
                    print(json.dumps([module, probe(module)]), file=pipe, flush=True)
            os._exit(0)
        os.close(writer)
        found.update(dict.fromkeys(group, ["dies"]))
        with os.fdopen(reader) as pipe:
            found.update(json.loads(line) for line in pipe)
        os.waitpid(child, 0)
    print(json.dumps(found))
    """
)


def probe(
    package: str, root: Path, outside: list[str], groups: list[list[str]]
) -> dict[str, list[str]]:
    """Import each group of modules in a process of its own and return what each module touched."""
    argument = json.dumps([package, str(root), outside, groups])
    result = subprocess.run(
        [sys.executable, "-B", "-c", PROBE, argument], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_importing_touches_nothing():
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    modules = [module_name(path, ROOT) for path in files]
    outside = set()
    for path, name in zip(files, modules, strict=True):
        source = path.read_text(encoding="utf-8")
        for imported in imports_of(source, name, path.name == "__init__.py"):
            if imported.name.split(".")[0] not in (PACKAGE, "<computed>"):
                # `from a.b import c`: c may be a module too, and the probe tries both.
                outside |= {imported.name, imported.name.rpartition(".")[0]} - {""}
    rooms: dict[str, list[str]] = {}
    for module in modules:
        rooms.setdefault(".".join(module.split(".")[:2]), []).append(module)
    found = probe(PACKAGE, ROOT, sorted(outside), list(rooms.values()))
    assert set(found) == set(modules)
    assert {module: touched for module, touched in found.items() if touched} == {}


# What a module could do on import, and what the probe says of it.
MISDEEDS = {
    "writes": ("open({tmp!r} + '/new', 'w').close()", "writes"),
    "creates": ("import os; os.close(os.open({tmp!r} + '/n', os.O_CREAT))", "writes"),
    "reads": ("open('/etc/passwd').close()", "reads /etc/passwd"),
    "folder": ("import os; os.makedirs({tmp!r} + '/folder')", "os.mkdir"),
    "connects": (
        "import socket\ntry: socket.create_connection(('localhost', 9))\nexcept OSError: pass",
        "network: socket.",
    ),
    "fetches": (
        "import urllib.request as r\ntry: r.urlopen('http://localhost')\nexcept OSError: pass",
        "network: urllib.Request",
    ),
    "runs": ("import subprocess; subprocess.run(['true'])", "subprocess.Popen"),
    "seeds": ("import random; random.seed(0)", "changes the state of random"),
    "draws": ("import numpy; numpy.random.rand()", "changes the state of numpy's generator"),
    "torch_seeds": ("import torch; torch.manual_seed(1)", "changes the state of torch's generator"),
    "torch_draws": ("import torch; torch.rand(1)", "changes the state of torch's generator"),
    "threads": ("import torch; torch.set_num_threads(3)", "changes the number of threads"),
    "dtype": ("import torch; torch.set_default_dtype(torch.float64)", "changes the default dtype"),
    "gradients": ("import torch; torch.set_grad_enabled(False)", "changes the gradient mode"),
    "environment": ("import os; os.environ['A_NAME'] = 'b'", "changes the environment"),
    "moves": ("import os; os.chdir('/')", "changes the working folder"),
    "logs": ("import logging; logging.basicConfig()", "changes the root logger"),
    "raises": ("raise RuntimeError('no')", "raises RuntimeError: no"),
    "dies": ("import os; os._exit(3)", "dies"),
    "poses": (
        "import sys, types; sys.modules['detectron2'] = types.ModuleType('detectron2')",
        "stands in sys.modules as detectron2",
    ),
}


def test_probe_detects_side_effects(tmp_path):
    package = tmp_path / "tree" / "suspect"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "innocent.py").write_text("import json\nVALUE = json.loads('1')\n")
    for name, (source, _) in MISDEEDS.items():
        (package / f"{name}.py").write_text(source.replace("{tmp!r}", repr(str(tmp_path))))
    modules = ["suspect", "suspect.innocent", *(f"suspect.{name}" for name in MISDEEDS)]
    # The loader of urllib's modules is not the culprit that is looked for.
    outside = ["urllib.request", "socket", "subprocess"]
    found = probe("suspect", package.parent, outside, [[module] for module in modules])
    assert found["suspect"] == found["suspect.innocent"] == []
    for name, (_, words) in MISDEEDS.items():
        assert any(words in touched for touched in found[f"suspect.{name}"]), (name, found)
