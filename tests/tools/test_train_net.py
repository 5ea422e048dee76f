"""The training tool: one process, two processes, and one sentence for every kind of bad input."""

import errno
import json
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.d2.engine import SimpleTrainer
from ovseg_d2.engine import Trainer, checkpointing

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "train_net.py"
main = runpy.run_path(str(TOOL), run_name="train_net")["main"]


def sentence_of(*argv: object) -> str:
    """The sentence the tool ends with, after checking that it is one, and exit code 1."""
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in argv])
    assert isinstance(end.value.code, str), "exit code 1 comes with a sentence"
    assert end.value.code.startswith("error: ") and "\n" not in end.value.code
    return end.value.code


@pytest.fixture
def run(tiny_train_opts):
    """A function that runs the tool on the tiny model: options, then config keys."""

    def run_tool(*options: str, **keys: object) -> None:
        words = [str(w) for k, v in keys.items() for w in (k.replace("__", "."), v)]
        main([*options, *tiny_train_opts, *words])

    return run_tool


@pytest.fixture
def refused(tiny_train_opts):
    """The same, giving the sentence it ends with."""

    def run_tool(*options: str, **keys: object) -> str:
        words = [str(w) for k, v in keys.items() for w in (k.replace("__", "."), v)]
        return sentence_of(*options, *tiny_train_opts, *words)

    return run_tool


def test_train_resume_and_evaluate(run, tmp_path, toy_dataset, capsys):
    name = toy_dataset("ovseg_toy_tool", ["red star", "grass"])
    run(DATASETS__TEST=f"('{name}',)", SOLVER__MAX_ITER=2)
    results = tmp_path / "output" / "results.json"
    run("--resume", DATASETS__TEST=f"('{name}',)", SOLVER__MAX_ITER=3)
    trained = json.loads(results.read_text())[name]["mIoU"]
    content = torch.load(tmp_path / "output" / "model_final.pth", weights_only=True)
    assert content["iteration"] == 2
    shown = capsys.readouterr().out
    # What a person wants to see of a step is on the console.
    assert re.search(r"iter: 1 .*total_loss: \d.*lr: \d", shown)
    assert "Starting training from iteration 2" in shown
    results.unlink()
    weights = tmp_path / "output" / "model_final.pth"
    run("--eval-only", DATASETS__TEST=f"('{name}',)", MODEL__WEIGHTS=weights)
    assert json.loads(results.read_text())[name]["mIoU"] == pytest.approx(trained, abs=1e-4)
    assert "results of ovseg_toy_tool written to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"NO__SUCH_KEY": 1}, "option NO.SUCH_KEY 1: "),
        ({"SOLVER__MAX_ITER": "many"}, "option SOLVER.MAX_ITER many: "),
        ({"DATASETS__TRAIN": "('nowhere',)"}, "dataset 'nowhere' is not registered"),
        ({"DATASETS__TEST": "('nowhere',)"}, "dataset 'nowhere' is not registered"),
        ({"MODEL__WEIGHTS": "gone.pth"}, "MODEL.WEIGHTS 'gone.pth' does not exist"),
        ({"MODEL__CLIP__PRETRAINED": "gone.pt"}, "there is no weight file 'gone.pt'"),
        ({"MODEL__CLIP__NAME": "ViT-B-61"}, "'ViT-B-61' is not a model name of open_clip"),
        ({"MODEL__DEVICE": "cuda:64"}, "MODEL.DEVICE 'cuda:64' is not there"),
        ({"SOLVER__IMS_PER_BATCH": 0}, "SOLVER.IMS_PER_BATCH is 0; it takes a whole number from 1"),
        (
            {"SOLVER__OPTIMIZER": "ADAM"},
            "SOLVER.OPTIMIZER is 'ADAM'; it takes one of 'ADAMW', 'SGD'",
        ),
        ({"INPUT__TRAIN_MAPPER": "none"}, "INPUT.TRAIN_MAPPER 'none' is unknown"),
        ({"MODEL__META_ARCHITECTURE": "MaskCLIP"}, "MaskCLIP has no trainable parameters"),
    ],
)
def test_bad_keys_end_in_a_sentence(refused, keys, told):
    assert told in refused(**keys)


def test_bad_options_end_in_a_sentence(refused, tmp_path, capsys):
    assert "config file 'gone.yaml' does not exist" in sentence_of("--config-file", "gone.yaml")
    assert "are 1 words; give keys and values in turn" in sentence_of("SOLVER.MAX_ITER")
    assert "--num-gpus 0 --num-machines 1 starts no process" in refused("--num-gpus", "0")
    with pytest.raises(SystemExit) as end:
        main(["SOLVER.MAX_ITER", "1", "--resume"])
    assert end.value.code == 2
    assert "--resume follows a config key, and config keys come last" in capsys.readouterr().err


def test_project_config_is_found_from_another_folder(run, tmp_path, monkeypatch, toy_dataset):
    monkeypatch.chdir(tmp_path)
    name = toy_dataset("ovseg_toy_folder", ["red star", "grass"])
    keys = {"MODEL__META_ARCHITECTURE": "MaskCLIP", "DATASETS__TEST": f"('{name}',)"}
    run("--config-file", "configs/maskclip.yaml", "--eval-only", **keys)
    log = (tmp_path / "output" / "log.txt").read_text()
    assert f"args.config_file={ROOT / 'configs' / 'maskclip.yaml'}" in log


def test_diverged_training_is_one_sentence(refused, monkeypatch, capsys):
    def diverge(self):
        raise FloatingPointError("Loss became infinite or NaN!\n{'loss_mask': np.float64(nan)}")

    monkeypatch.setattr(SimpleTrainer, "run_step", diverge)
    assert "training has diverged: at step 0 the losses are loss_mask nan; " in refused()
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_training_set(refused, toy_dataset, workers):
    name = toy_dataset("ovseg_toy_unreadable", ["a", "b"])
    for entry in DatasetCatalog.get(name):
        Path(entry["file_name"]).write_text("no image")
    keys = {"DATASETS__TRAIN": f"('{name}',)", "INPUT__TRAIN_MAPPER": "semantic"}
    told = refused(**keys, DATALOADER__NUM_WORKERS=workers)
    assert "20 samples in a row, from number " in told and "'ovseg_toy_unreadable'" in told


def test_used_port_is_one_sentence(refused):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        assert f"--dist-url {url}: cannot listen at port " in refused(
            "--num-gpus", "2", "--dist-url", url
        )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "to go on, run the command with --resume, which starts from the last checkpoint"),
        (("--eval-only",), "to go on, run the command again"),
    ],
)
def test_interrupt_names_the_way_to_continue(run, monkeypatch, capsys, options, told):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "build_model", interrupt)
    with pytest.raises(SystemExit) as end:
        run(*options, DATASETS__TEST="('ovseg_shapes_dev',)")
    assert end.value.code == 130
    assert capsys.readouterr().err.startswith(f"interrupted; {told}")


def test_help_names_the_place_of_keys(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "Config keys and their values come last" in capsys.readouterr().out


def test_more_processes_than_gpus_are_refused(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert "--num-gpus 2, but 1 are visible" in refused("--num-gpus", "2")


def test_unwritable_output_folder(refused, tmp_path):
    (tmp_path / "file").write_text("kept")
    told = refused(OUTPUT_DIR=tmp_path / "file" / "output")
    assert told.startswith(f"error: cannot write {tmp_path}/file/output")
    assert "is a file and not a folder" in told
    assert (tmp_path / "file").read_text() == "kept"


def test_label_outside_the_classes(refused, tmp_path, toy_dataset):
    good = toy_dataset("ovseg_toy_good", ["a", "b"])
    bad = toy_dataset("ovseg_toy_bad", ["a", "b"], labels=[np.array([[0, 7]])])
    told = refused("--eval-only", DATASETS__TEST=f"('{good}', '{bad}')")
    assert "ovseg_toy_bad/0_labels.png holds the id 7" in told
    assert list(json.loads((tmp_path / "output" / "results.json").read_text())) == [good]


@pytest.mark.parametrize("damage", ["gone", "empty", "text", "zero-sized"])
def test_bad_image_of_a_dataset(refused, toy_dataset, damage):
    name = toy_dataset("ovseg_toy_damaged", ["a", "b"])
    image = Path(DatasetCatalog.get(name)[1]["file_name"])
    if damage == "gone":
        image.unlink()
    elif damage == "zero-sized":
        with open(image, "r+b") as file:
            file.seek(16)
            file.write(bytes(4))
    else:
        image.write_text("" if damage == "empty" else "no image")
    assert f"cannot read {image}: " in refused("--eval-only", DATASETS__TEST=f"('{name}',)")


def test_images_and_labels_of_different_size(refused, toy_dataset):
    name = toy_dataset("ovseg_toy_resized", ["a", "b"])
    Image.new("L", (3, 3)).save(DatasetCatalog.get(name)[0]["sem_seg_file_name"])
    told = refused("--eval-only", DATASETS__TEST=f"('{name}',)")
    assert "is 3 x 3 pixels" in told and "they must agree" in told


def test_weights_of_another_architecture(refused, tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_weights", ["a", "b"])
    weights = tmp_path / "other.pth"
    torch.save({"stem.conv1.weight": torch.ones(2)}, weights)
    test_set = {"DATASETS__TEST": f"('{name}',)", "MODEL__WEIGHTS": weights}
    told = refused("--eval-only", **test_set)
    assert f"{weights} does not fit CLIPPretrain: " in told
    assert "1 unexpected: stem.conv1.weight" in told


def test_weights_of_another_clip(refused, tmp_path, tiny_clip_config):
    other = tmp_path / "wider.json"
    tiny_clip_config["embed_dim"] = 48
    other.write_text(json.dumps(tiny_clip_config))
    weights = tmp_path / "weights.pt"
    state = {"logit_scale": torch.ones([]), "visual.proj": torch.ones(32, 32)}
    torch.save({**state, "token_embedding.weight": torch.ones(49408, 32)}, weights)
    told = refused(MODEL__CLIP__NAME=other, MODEL__CLIP__PRETRAINED=weights)
    assert "do not fit the model: " in told
    assert "visual.proj (32, 32) instead of (32, 48)" in told


def test_full_disk_leaves_a_run_to_resume(run, refused, tmp_path, monkeypatch):
    save = torch.save

    def fill(content, file):
        if content["iteration"] < 3:
            return save(content, file)
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpointing.torch, "save", fill)
    told = refused(SOLVER__CHECKPOINT_PERIOD=2)
    output = tmp_path / "output"
    assert told.startswith(f"error: cannot write {output / 'model_0000003.pth'}: the disk is full")
    assert [path.name for path in output.glob("*.pth")] == ["model_0000001.pth"]
    monkeypatch.undo()
    run("--resume", SOLVER__CHECKPOINT_PERIOD=2)
    assert torch.load(output / "model_final.pth", weights_only=True)["iteration"] == 3
    for line in (output / "metrics.json").read_text().splitlines():
        json.loads(line)


def test_full_disk_under_the_metrics_is_a_sentence(refused, monkeypatch):
    from ovseg_d2.d2.utils.events import EventStorage

    def fill(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # The writer stands beside the storage that it reads, on either provider.
    monkeypatch.setattr(sys.modules[EventStorage.__module__].JSONWriter, "write", fill)
    assert "the disk is full" in refused()


@pytest.fixture
def run_in_processes(environment):
    """Give a function that runs the tool in a new process."""

    def run_tool(*argv: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TOOL), *(str(word) for word in argv)]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run_tool


@pytest.mark.slow
def test_two_cpu_processes_train_like_one(run_in_processes, tmp_path, tiny_train_opts):
    config = ["--config-file", ROOT / "configs" / "clip.yaml"]
    keys = [*tiny_train_opts, "MODEL.CLIP.PATCH_DROPOUT", "0.0", "TEST.MAX_IMAGES", "4"]
    two = [*keys, "OUTPUT_DIR", tmp_path / "two"]
    done = run_in_processes(*config, "--num-gpus", "2", "--dist-url", "auto", *two)
    assert done.returncode == 0, done.stderr
    # The first words on the console are about the run.
    assert "Rank of current process: 0. World size: 2" in done.stdout.splitlines()[0]
    assert "torch.jit.script" not in done.stderr
    main([*(str(word) for word in (*config, *keys, "OUTPUT_DIR", tmp_path / "one"))])

    last = {
        name: json.loads((tmp_path / name / "metrics.json").read_text().splitlines()[0])
        for name in ("one", "two")
    }
    # The loss is over the batch of all processes, so it does not matter how many there are.
    assert last["two"]["iteration"] == last["one"]["iteration"] == 3
    assert last["two"]["total_loss"] == pytest.approx(last["one"]["total_loss"], rel=1e-4)
    for name in ("one", "two"):
        results = json.loads((tmp_path / name / "results.json").read_text())
        assert results["ovseg_shapes_dev"]["images"] == 4
    assert (tmp_path / "two" / "log.txt.rank1").is_file()
    weights = [
        torch.load(tmp_path / name / "model_final.pth", weights_only=True)["model"]
        for name in ("one", "two")
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=2e-4)


@pytest.mark.slow
def test_bad_input_in_two_processes_is_one_sentence(run_in_processes, tiny_train_opts):
    keys = [*tiny_train_opts, "SOLVER.IMS_PER_BATCH", "3"]
    done = run_in_processes("--num-gpus", "2", "--dist-url", "auto", *keys)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told, done.stderr
    assert set(told) == {
        "error: batch_size=3 cannot be shared out to 2 processes; "
        "set SOLVER.IMS_PER_BATCH to a multiple of their number"
    }
    assert "Traceback" not in done.stderr
