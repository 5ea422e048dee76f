"""The door gives the objects of one provider, and only names that are used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ovseg_d2
from ovseg_d2.d2 import HAS_DETECTRON2

PACKAGE = Path(ovseg_d2.__file__).parent
ROOT = PACKAGE.parent
# What README.md shows, and the storage that `get_event_storage` gives.
FOR_USERS = {"ovseg_d2.d2.engine.DefaultPredictor", "ovseg_d2.d2.utils.events.EventStorage"}


def door_names() -> dict[str, list[str]]:
    """Return the names that each module of the door imports from detectron2."""
    names = {}
    for path in sorted((PACKAGE / "d2").rglob("*.py")):
        if "standin" in path.parts:
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        imports = [
            node
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("detectron2.")
        ]
        if imports:
            names[module] = [alias.name for node in imports for alias in node.names]
    return names


NAMES = door_names()


@pytest.mark.parametrize("module", NAMES)
def test_door_gives_the_objects_of_one_provider(module):
    provider = "detectron2" if HAS_DETECTRON2 else "ovseg_d2.d2.standin"
    behind = import_module(module.replace("ovseg_d2.d2", provider))
    for name in NAMES[module]:
        value = getattr(import_module(module), name)
        if HAS_DETECTRON2:  # which defines one of them a module deeper
            assert value is getattr(behind, name, value), name
        home = getattr(value, "__module__", provider)
        assert home.startswith((provider, "fvcore")), name


def test_door_lists_only_names_that_are_used():
    used = set()
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        if path.is_relative_to(PACKAGE / "d2"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                base = (node.module or "").removeprefix("ovseg_d2.")
                used |= {f"ovseg_d2.{base}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "comm":
                    used.add(f"ovseg_d2.d2.utils.comm.{node.attr}")
    listed = {f"{module}.{name}" for module, names in NAMES.items() for name in names}
    assert listed - used == FOR_USERS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={"PATH": ""}
    )


def test_door_takes_no_bare_folder_for_detectron2(tmp_path):
    (tmp_path / "detectron2").mkdir()
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); "
        f"print(runpy.run_path({str(PACKAGE / 'd2' / '__init__.py')!r})['HAS_DETECTRON2'])"
    )
    # Without site-packages, where a whole detectron2 may be.
    assert run("-S", "-c", program).stdout == "False\n"


def test_door_shows_the_error_of_a_broken_detectron2(tmp_path):
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").write_text("raise ImportError('half is missing')")
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import ovseg_d2.d2"
    assert "ImportError: half is missing" in run("-c", program).stderr
