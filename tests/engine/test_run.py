"""Whole jobs: what is refused before it costs anything, evaluation alone, and resuming."""

import argparse
import json
import os

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.engine.loading import check_weights
from ovseg_d2.engine.run import check_job, evaluate_config, run_job
from ovseg_d2.files import WriteError


def arguments(eval_only=False, resume=False):
    return argparse.Namespace(eval_only=eval_only, resume=resume, config_file="")


@pytest.fixture
def config(tiny_train_opts):
    def build(**keys):
        opts = (
            str(word) for key, value in keys.items() for word in (key.replace("__", "."), value)
        )
        return load_config(None, [*tiny_train_opts, *opts])

    return build


def test_check_job_accepts_a_good_job(config, tmp_path):
    check_job(config(), arguments())
    assert list((tmp_path / "output").iterdir()) == []


@pytest.mark.parametrize(
    ("keys", "eval_only", "sentence"),
    [
        ({"DATASETS__TRAIN": "('nowhere',)"}, False, "'nowhere' is not registered"),
        ({"DATASETS__TRAIN": "()"}, False, r"DATASETS \(\) must be a list of at least one"),
        # Training would notice this one hours later.
        ({"DATASETS__TEST": "('nowhere',)"}, False, "'nowhere' is not registered"),
        ({"DATASETS__TEST": "('nowhere',)"}, True, "'nowhere' is not registered"),
        ({}, True, r"DATASETS\.TEST is empty; name at least one"),
        (
            {"SOLVER__AMP__ENABLED": "True", "MODEL__DEVICE": "meta"},
            False,
            r"SOLVER\.AMP\.ENABLED True needs CUDA or a CPU.*'meta'",
        ),
        ({"MODEL__DEVICE": "cuda:64"}, False, r"MODEL\.DEVICE 'cuda:64' is not there: "),
        ({"MODEL__DEVICE": "mps"}, False, "MODEL.DEVICE 'mps' is not there: .* device type 'mps'"),
        ({"MODEL__WEIGHTS": "gone.pth"}, False, "MODEL.WEIGHTS 'gone.pth' does not exist; give"),
        (
            {"MODEL__META_ARCHITECTURE": "OVSeg", "MODEL__OVSEG__CLIP_WEIGHTS": "gone.pth"},
            False,
            r"MODEL\.OVSEG\.CLIP_WEIGHTS 'gone\.pth' does not exist; give the path",
        ),
    ],
)
def test_run_job_refuses_bad_jobs_before_building(config, tmp_path, keys, eval_only, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        run_job(config(**keys), arguments(eval_only=eval_only))
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("eval_only", [False, True])
def test_failed_job_keeps_the_former_config(config, tmp_path, eval_only):
    former = tmp_path / "output" / "config.yaml"
    former.parent.mkdir()
    former.write_text("of the run whose checkpoints lie here")
    keys = {"MODEL__CLIP__PRETRAINED": "gone.pt", "DATASETS__TEST": "('ovseg_shapes_dev',)"}
    with pytest.raises(FileNotFoundError, match="gone.pt"):
        run_job(config(**keys), arguments(eval_only=eval_only))
    assert former.read_text() == "of the run whose checkpoints lie here"


def test_run_job_refuses_output_below_a_file(config, tmp_path):
    (tmp_path / "file").write_text("kept")
    cfg = config(OUTPUT_DIR=tmp_path / "file" / "output")
    sentence = f"cannot write {tmp_path}/file/output/.writable.[0-9]+: a part"
    with pytest.raises(WriteError, match=sentence):
        run_job(cfg, arguments())
    assert (tmp_path / "file").read_text() == "kept"


def test_check_weights(config, tmp_path):
    cfg = config()
    check_weights(cfg)
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"")
    for name in (str(weights), f"{weights}?matching_heuristics=True", "https://host/weights.pth"):
        cfg.MODEL.WEIGHTS = name
        check_weights(cfg)
    cfg.MODEL.WEIGHTS = str(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist") as caught:
        check_weights(cfg)
    assert caught.value.filename is None


def test_run_job_trains_evaluates_and_resumes(config, tmp_path, toy_dataset, capsys):
    name = toy_dataset("ovseg_toy_job", ["red star", "grass"])
    test_set = {"DATASETS__TEST": f"('{name}',)", "SOLVER__CHECKPOINT_PERIOD": 2}
    assert run_job(config(**test_set), arguments()) is None
    output = tmp_path / "output"
    trained = json.loads((output / "results.json").read_text())[name]["mIoU"]
    shown = capsys.readouterr().out
    assert "CLIPPretrain: 1.6 million parameters" in shown
    assert "Embedding(49408" not in shown and "IMS_PER_BATCH" not in shown
    log = (output / "log.txt").read_text()
    assert "Embedding(49408" in log and "IMS_PER_BATCH" in log
    assert "IMS_PER_BATCH: 4" in (output / "config.yaml").read_text()

    # The last checkpoint of the folder, and the same file by name, give the training's own number.
    found = run_job(config(**test_set), arguments(eval_only=True, resume=True))
    assert found["sem_seg"]["mIoU"] == pytest.approx(trained, abs=1e-4)
    elsewhere = {"OUTPUT_DIR": tmp_path / "elsewhere"}
    by_name = {"MODEL__WEIGHTS": output / "model_final.pth", **elsewhere, **test_set}
    found = run_job(config(**by_name), arguments(eval_only=True))
    assert found["sem_seg"]["mIoU"] == pytest.approx(trained, abs=1e-4)
    assert json.loads((tmp_path / "elsewhere" / "results.json").read_text())[name]["images"] == 2

    # Weights that a resumed run does not read need not be there any more.
    gone = {"MODEL__WEIGHTS": tmp_path / "gone.pth", "SOLVER__MAX_ITER": 5}
    run_job(config(**gone, **test_set), arguments(resume=True))
    assert torch.load(output / "model_final.pth", weights_only=True)["iteration"] == 4

    # The newest checkpoint is damaged: one sentence, and what it tells to do works.
    (output / "model_final.pth").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="model_0000003.pth, into .*last_checkpoint$"):
        run_job(config(**gone), arguments(resume=True))
    assert (output / "model_final.pth").read_bytes() == b"damaged"
    os.remove(output / "last_checkpoint")
    (output / "last_checkpoint").write_text("model_0000003.pth")
    run_job(config(**gone), arguments(resume=True))
    assert torch.load(output / "model_final.pth", weights_only=True)["iteration"] == 4


def test_run_job_checks_expected_results(config, toy_dataset):
    name = toy_dataset("ovseg_toy_expected", ["a", "b"])
    cfg = config(DATASETS__TEST=f"('{name}',)")
    cfg.TEST.EXPECTED_RESULTS = [["sem_seg", "mIoU", 1000.0, 1.0]]
    with pytest.raises(SystemExit) as end:
        run_job(cfg, arguments(eval_only=True))
    assert end.value.code == 1


def test_run_job_refuses_weights_of_another_model(config, tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_other", ["a", "b"])
    weights = tmp_path / "resnet.pth"
    torch.save({"backbone.stem.conv1.weight": torch.ones(2)}, weights)
    keys = {"MODEL__WEIGHTS": weights, "DATASETS__TEST": f"('{name}',)"}
    for eval_only in (True, False):
        with pytest.raises(
            ValueError, match="does not fit CLIPPretrain: .* missing: .*, ...; 1 unex"
        ):
            run_job(config(**keys), arguments(eval_only=eval_only))


def test_evaluate_config(config, tiny_train_opts, tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_claim", ["a", "b"])
    file = tmp_path / "config.yaml"
    file.write_text(f"DATASETS:\n  TEST: ('{name}',)\n")
    numbers = evaluate_config(str(file), tiny_train_opts)
    assert numbers["images"] == 2
    assert json.loads((tmp_path / "output" / "results.json").read_text()) == {name: numbers}
