"""Malicious files through every path that loads weights, and through the other readers."""

import gzip
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from loading_paths import PATHS, Net
from malicious import LIVE, MAKERS, MODULE, add_import_trap

from ovseg_d2.clip import load_clip
from ovseg_d2.config import load_config
from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.checkpoint import DetectionCheckpointer
from ovseg_d2.engine.checkpointing import Checkpointer
from ovseg_d2.evaluation import read_results
from ovseg_d2.mining import HanTaTagger
from ovseg_d2.text import TextBank

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Path:
    """A file that must not appear; the module that writes it is on the path."""
    path = tmp_path / "canary"
    add_import_trap(tmp_path, path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return path


@pytest.mark.parametrize("name", LIVE)
def test_malicious_files_work_without_our_reader(name, canary):
    """Python's unpickler executes each file, so that the other tests are meaningful."""
    try:
        pickle.loads(LIVE[name](canary))
    except Exception:  # after the code was run
        pass
    assert canary.exists()


def test_malicious_torchscript_works_without_our_reader(canary, tmp_path):
    path = tmp_path / "script.pt"
    path.write_bytes(MAKERS["script.pt"](canary))
    assert not canary.exists()
    torch.jit.load(path)
    assert canary.exists()


@pytest.mark.parametrize("way", PATHS)
def test_weight_files_run_no_code(way, canary, tmp_path, refuse):
    assert len(MAKERS) >= 14
    for name, make in MAKERS.items():
        if way == "DefaultPredictor" and HAS_DETECTRON2 and not name.endswith(".pkl"):
            continue  # detectron2 reads these by torch.load(weights_only=True)
        path = tmp_path / name
        path.write_bytes(make(canary))
        if name == "naming.pkl":  # nothing in it is called: most paths read it as data
            with suppress(SystemExit, ValueError, AttributeError):
                PATHS[way](path)
        else:
            refuse(way, path)
        assert not canary.exists(), f"{name} ran code"
        assert MODULE not in sys.modules


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2's own checkpointer follows the name")
@pytest.mark.parametrize("checkpointer", [Checkpointer, DetectionCheckpointer])
def test_last_checkpoint_stays_in_its_folder(checkpointer, canary, tmp_path):
    (tmp_path / "evil.pkl").write_bytes(MAKERS["system.pkl"](canary))
    (tmp_path / "output").mkdir()
    for name in ("../evil.pkl", str(tmp_path / "evil.pkl")):
        (tmp_path / "output" / "last_checkpoint").write_text(name)
        with pytest.raises(ValueError, match="which is not a file name"):
            checkpointer(Net(), str(tmp_path / "output")).resume_or_load("", resume=True)
    assert not canary.exists()


@pytest.mark.parametrize("tag", ["object/apply:os.system", "object/new:os.system"])
def test_configs_run_no_code(tag, canary, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"SEED: !!python/{tag} ['touch {canary}']\n")
    based = tmp_path / "based.yaml"
    based.write_text("_BASE_: config.yaml\n")
    for file in (path, based):
        with pytest.raises(ValueError, match="config file"):
            load_config(file)
    value = f"__import__('os').system('touch {canary}')"
    with pytest.raises(ValueError, match="option SEED"):
        load_config(None, ["SEED", value])
    assert not canary.exists()


def test_hanta_reads_the_model_of_its_package(canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with gzip.open("morphmodel_en.pgz", "wb") as file:
        file.write(MAKERS["system.pkl"](canary))
    assert [word.kind for word in HanTaTagger()("a dog")] == ["other", "noun"]
    assert not canary.exists()


def test_text_cache_runs_no_code(canary, tmp_path):
    bank = TextBank(load_clip("ShapesCLIP"), cache_dir=tmp_path / "cache")
    expected = bank.embed(["red star"])
    (file,) = (tmp_path / "cache").iterdir()
    for make in MAKERS.values():
        file.write_bytes(make(canary))
        again = TextBank(bank.tower, cache_dir=tmp_path / "cache").embed(["red star"])
        assert torch.equal(again, expected)
    assert not canary.exists()


def test_kept_results_run_no_code(canary, tmp_path):
    (tmp_path / "results.json").write_bytes(MAKERS["system.pkl"](canary))
    with pytest.raises(ValueError, match="is no results file"):
        read_results(tmp_path)
    assert not canary.exists()
