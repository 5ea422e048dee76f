"""Training: hooks, logs, and that a killed run goes on as if nothing had happened."""

import json
import logging
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import ovseg_d2
from ovseg_d2.config import load_config
from ovseg_d2.d2.engine import HookBase
from ovseg_d2.d2.utils.logger import setup_logger
from ovseg_d2.engine import Trainer
from ovseg_d2.engine.trainer import DivergedError

WORKER = Path(__file__).with_name("train_worker.py")
worker = runpy.run_path(str(WORKER), run_name="train_worker")


@pytest.fixture(autouse=True)
def log(own_logs, caplog) -> Iterator[pytest.LogCaptureFixture]:
    for name in ("detectron2", "fvcore", "ovseg_d2"):
        # Before a trainer does it, and with propagation, which caplog needs.
        setup_logger(name=name).propagate = True
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums come out alike in every process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def changed(opts: list[str], **keys: object) -> list[str]:
    return [*opts, *(str(word) for key in keys for word in (key.replace("__", "."), keys[key]))]


def test_build_model_logs_one_line(tiny_train_opts, log):
    Trainer.build_model(load_config(None, tiny_train_opts))
    lines = [r for r in log.records if r.name.startswith(("ovseg_d2", "detectron2"))]
    told = [r.getMessage() for r in lines if r.levelno >= logging.INFO]
    assert told == ["CLIPPretrain: 1.6 million parameters, 1.6 million of them trainable, on cpu"]
    detail = [r.getMessage() for r in lines if r.levelno == logging.DEBUG]
    assert any("(token_embedding): Embedding(49408, 32)" in each for each in detail)


def test_run_writes_the_files_of_detectron2(tiny_train_opts, tmp_path, toy_dataset):
    name = toy_dataset("ovseg_toy_trained_on", ["red star", "grass"])
    cfg = load_config(
        None, changed(tiny_train_opts, SOLVER__CHECKPOINT_PERIOD=2, TEST__EVAL_PERIOD=2)
    )
    cfg.DATASETS.TEST = (name,)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.train()
    output = tmp_path / "output"
    for file in ("model_0000001.pth", "model_0000003.pth", "model_final.pth", "scores.png"):
        assert (output / file).is_file(), file
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert [line["iteration"] for line in lines if "sem_seg/mIoU" in line] == [1, 4]
    assert json.loads((output / "results.json").read_text())[name]["images"] == 2
    after = trainer.model.state_dict()
    assert any(not torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("amp", [False, True])
def test_diverged_training_names_step_loss_and_keys(tiny_train_opts, amp, log):
    trainer = Trainer(load_config(None, changed(tiny_train_opts, SOLVER__AMP__ENABLED=amp)))
    forward = trainer.model.forward

    def diverge(batch):
        losses = forward(batch)
        return (
            {name: loss * float("nan") for name, loss in losses.items()} if trainer.iter else losses
        )

    trainer.model.forward = diverge
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == (
        "training has diverged: at step 1 the losses are loss_contrastive nan; lower "
        "SOLVER.BASE_LR (now 0.001), or bound the gradients with SOLVER.MAX_GRAD_NORM (now 0, "
        "where 0 is no bound)"
    )


def test_non_finite_logits_end_training(tiny_train_opts):
    trainer = Trainer(load_config(None, tiny_train_opts))

    def diverge(batch):
        raise FloatingPointError("class or mask logits are not finite")

    trainer.model.forward = diverge
    with pytest.raises(DivergedError, match="at step 0 logits are not finite; lower SOLVER"):
        trainer.train()


def test_training_without_test_dataset(tiny_train_opts, tmp_path):
    opts = changed(tiny_train_opts, TEST__EVAL_PERIOD=1, SOLVER__MAX_ITER=2)
    worker["train"](opts, tmp_path / "record", resume=False)
    assert (tmp_path / "output" / "model_final.pth").is_file()
    assert not (tmp_path / "output" / "results.json").exists()


def test_subclass_loaders_and_evaluators_are_used(tiny_train_opts, toy_dataset):
    name = toy_dataset("ovseg_toy_subclass", ["red star", "grass"])
    seen = []

    class Own(Trainer):
        @classmethod
        def build_test_loader(cls, cfg, dataset_name):
            seen.append(("loader", dataset_name))
            return super().build_test_loader(cfg, dataset_name)

        @classmethod
        def build_evaluator(cls, cfg, dataset_name, output_folder=None):
            seen.append(("evaluator", dataset_name))
            return super().build_evaluator(cfg, dataset_name, output_folder)

    cfg = load_config(None, tiny_train_opts)
    cfg.DATASETS.TEST = (name,)
    Own.test(cfg, Own.build_model(cfg).eval())
    assert seen == [("loader", name), ("evaluator", name)]


def test_trainer_refuses_models_without_parameters(tiny_train_opts):
    opts = changed(tiny_train_opts, MODEL__META_ARCHITECTURE="MaskCLIP")
    with pytest.raises(ValueError, match="MaskCLIP has no trainable parameters"):
        Trainer(load_config(None, opts))


def test_mixed_precision_on_the_cpu(tiny_train_opts, toy_dataset):
    name = toy_dataset("ovseg_toy_mixed", ["red star", "grass"])
    seen: list[tuple[bool, bool]] = []

    def note(model: torch.nn.Module, args: object, output: object) -> None:
        seen.append((model.training, torch.is_autocast_enabled("cpu")))

    losses = []
    for mixed in (False, True):
        opts = changed(
            tiny_train_opts,
            SOLVER__AMP__ENABLED=mixed,
            SOLVER__MAX_ITER=2,
            TEST__EVAL_PERIOD=2,
            OUTPUT_DIR=f"{load_config(None, tiny_train_opts).OUTPUT_DIR}/{mixed}",
        )
        cfg = load_config(None, opts)
        cfg.DATASETS.TEST = (name,)
        torch.manual_seed(0)
        trainer = Trainer(cfg)
        trainer.model.register_forward_hook(note)
        trainer.train()
        assert {each.dtype for each in trainer.model.parameters()} == {torch.float32}
        losses.append(trainer.storage.history("total_loss").values()[0][0])
    training = [autocast for in_training, autocast in seen if in_training]
    assert training == [False, False, True, True]
    assert {autocast for in_training, autocast in seen if not in_training} == {False}
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize(
    ("capabilities", "slow"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, False),
        ({"architecture": "unknown"}, False),
    ],
)
def test_amp_warns_of_cpus_without_bfloat16(tiny_train_opts, log, monkeypatch, capabilities, slow):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    for mixed in (False, True):
        log.clear()
        Trainer(load_config(None, changed(tiny_train_opts, SOLVER__AMP__ENABLED=mixed)))
        warned = [r for r in log.records if "has no instructions for bfloat16" in r.getMessage()]
        assert bool(warned) == (mixed and slow)


class _Stop(HookBase):
    def __init__(self, at: int) -> None:
        self._at = at

    def after_step(self) -> None:
        if self.trainer.iter == self._at:
            raise KeyboardInterrupt


def final_weights(opts: list[str]) -> dict[str, torch.Tensor]:
    folder = Path(load_config(None, opts).OUTPUT_DIR)
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_resumed_run_repeats_the_uninterrupted_one(tiny_train_opts, tmp_path, num_workers):
    opts = changed(
        tiny_train_opts,
        SOLVER__MAX_ITER=5,
        SOLVER__CHECKPOINT_PERIOD=2,
        DATALOADER__NUM_WORKERS=num_workers,
    )
    whole = changed(opts, OUTPUT_DIR=tmp_path / "whole")
    worker["train"](whole, tmp_path / "whole.txt", resume=False)

    torch.manual_seed(0)
    trainer = Trainer(load_config(None, opts))
    trainer.register_hooks([worker["Record"](tmp_path / "parts.txt"), _Stop(2)])
    trainer.resume_or_load(resume=False)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    # Other random numbers lie about when it is started again.
    torch.manual_seed(12345)
    trainer = Trainer(load_config(None, opts))
    trainer.register_hooks([worker["Record"](tmp_path / "parts.txt")])
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 2
    trainer.train()

    expected = worker["read_record"](tmp_path / "whole.txt")
    assert sorted(expected) == list(range(5))
    assert worker["read_record"](tmp_path / "parts.txt") == expected
    of_whole, of_parts = final_weights(whole), final_weights(opts)
    for name, value in of_whole.items():
        assert torch.equal(of_parts[name], value), name


@pytest.mark.slow
def test_run_killed_while_saving_repeats_the_uninterrupted_one(tiny_train_opts, tmp_path):
    output = tmp_path / "output"
    opts = changed(tiny_train_opts, SOLVER__MAX_ITER=24, SOLVER__CHECKPOINT_PERIOD=11)
    root = str(Path(ovseg_d2.__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    killed = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path / "parts.txt"), "21", *opts],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    # It died in the middle of writing its second checkpoint: the first is what there is.
    assert sorted(path.name for path in output.glob("*.pth")) == ["model_0000010.pth"]
    assert (output / "last_checkpoint").read_text() == "model_0000010.pth"
    with open(output / "metrics.json", "a") as file:
        file.write('{"iteration": 21, "total_l')  # as if it had been writing that, too

    trainer = worker["train"](opts, tmp_path / "parts.txt", resume=True)
    assert trainer.start_iter == 11
    whole = changed(opts, OUTPUT_DIR=tmp_path / "whole")
    worker["train"](whole, tmp_path / "whole.txt", resume=False)
    expected = worker["read_record"](tmp_path / "whole.txt")
    assert sorted(expected) == list(range(24))
    # Data and losses, of the part before the kill and of the part after it.
    assert worker["read_record"](tmp_path / "parts.txt") == expected
    assert len((tmp_path / "parts.txt").read_text().splitlines()) == 21 + (24 - 11)
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert {line["iteration"] for line in lines} >= {19, 23}


def test_finished_run_is_resumed_and_lengthened(tiny_train_opts, tmp_path, log):
    record = tmp_path / "record"
    worker["train"](tiny_train_opts, record, resume=False)
    before = final_weights(tiny_train_opts)
    log.clear()
    trainer = worker["train"](tiny_train_opts, record, resume=True)
    assert trainer.start_iter == 4
    assert "nothing is left to train: 4 iterations are done" in log.text
    assert sorted(worker["read_record"](record)) == [0, 1, 2, 3]
    assert all(torch.equal(final_weights(tiny_train_opts)[key], before[key]) for key in before)

    longer = changed(tiny_train_opts, SOLVER__MAX_ITER=6)
    trainer = worker["train"](longer, record, resume=True)
    assert trainer.start_iter == 4
    assert sorted(worker["read_record"](record)) == [0, 1, 2, 3, 4, 5]
    assert trainer.scheduler.last_epoch == 6
    # The cosine of the new length ends here, not where the old one did.
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)
    shorter = changed(tiny_train_opts, SOLVER__MAX_ITER=2)
    assert worker["train"](shorter, record, resume=True).start_iter == 6
    assert sorted(worker["read_record"](record)) == [0, 1, 2, 3, 4, 5]


def test_polynomial_schedule_is_lengthened(tiny_train_opts, tmp_path):
    opts = changed(tiny_train_opts, SOLVER__LR_SCHEDULER_NAME="WarmupPolyLR", SOLVER__MAX_ITER=3)
    worker["train"](opts, tmp_path / "record", resume=False)
    trainer = worker["train"](changed(opts, SOLVER__MAX_ITER=5), tmp_path / "record", resume=True)
    assert sorted(worker["read_record"](tmp_path / "record")) == [0, 1, 2, 3, 4]
    assert trainer.scheduler.last_epoch == 5


def test_weights_start_at_the_first_iteration(tiny_train_opts, tmp_path):
    worker["train"](tiny_train_opts, tmp_path / "record", resume=False)
    weights = tmp_path / "output" / "model_final.pth"
    opts = changed(tiny_train_opts, MODEL__WEIGHTS=weights, OUTPUT_DIR=tmp_path / "second")
    trainer = Trainer(load_config(None, opts))
    trainer.resume_or_load(resume=True)  # there is nothing to go on from in the new folder
    assert trainer.start_iter == 0
    saved = torch.load(weights, weights_only=True)["model"]
    assert all(torch.equal(value, saved[key]) for key, value in trainer.model.state_dict().items())
