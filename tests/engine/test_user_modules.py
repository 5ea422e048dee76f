"""`--import`: modules of the user's own, found or refused in a sentence."""

import sys

import pytest

from ovseg_d2.engine.user_modules import import_modules


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder at hand; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_import_modules_of_the_current_folder_once(folder):
    (folder / "ovseg_own_sets.py").write_text("import json\nRUNS = []\nRUNS.append(1)\n")
    (folder / "ovseg_own_package").mkdir()
    (folder / "ovseg_own_package" / "sets.py").write_text("")
    names = ["ovseg_own_sets", "ovseg_own_package.sets"]
    import_modules(names)
    import_modules(names)
    assert sys.modules["ovseg_own_sets"].RUNS == [1]
    assert "ovseg_own_package.sets" in sys.modules


@pytest.mark.parametrize("name", ["ovseg_own_sets.py", "a/b", "", "a..b", "3"])
def test_import_modules_refuses_bad_names(folder, name):
    with pytest.raises(ValueError, match="is not the name of a module; for my_datasets.py in"):
        import_modules([name])


@pytest.mark.parametrize("name", ["ovseg_gone", "ovseg_gone.sets", "json.gone", "json.loads"])
def test_import_modules_refuses_missing_modules(folder, name):
    with pytest.raises(ValueError, match=f"--import {name}: there is no such module in"):
        import_modules([name])


def test_import_modules_raises_errors_of_the_module(folder):
    (folder / "ovseg_own_broken.py").write_text("import ovseg_gone\n")
    with pytest.raises(ModuleNotFoundError, match="ovseg_gone"):
        import_modules(["ovseg_own_broken"])
