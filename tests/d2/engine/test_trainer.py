"""The default trainer keeps detectron2's promises, whichever of the two provides it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.d2.engine import AMPTrainer, DefaultTrainer, HookBase, SimpleTrainer
from ovseg_d2.d2.utils.events import EventStorage, get_event_storage

hooks = sys.modules[DefaultTrainer.__module__].hooks
XS = np.array([0.0, 1.0, 2.0, 3.0])


def sgd_by_hand(num_steps: int) -> tuple[float, float, list[tuple[float, float]]]:
    """The line's weight, bias and losses under SGD with momentum 0.9; rate 0.05, from 5 on 0.005.

    Gradients of mean((w x + b - 2 x - 1)^2) + 0.1 w^2 are written out.
    """
    weight, bias, weight_speed, bias_speed, losses = 0.5, 0.0, 0.0, 0.0, []
    for step in range(num_steps):
        errors = weight * XS + bias - (2 * XS + 1)
        losses.append((float((errors**2).mean()), 0.1 * weight**2))
        weight_speed = 0.9 * weight_speed + 2 * (errors * XS).mean() + 0.2 * weight
        bias_speed = 0.9 * bias_speed + 2 * errors.mean()
        rate = 0.05 if step < 5 else 0.005
        weight, bias = weight - rate * weight_speed, bias - rate * bias_speed
    return weight, bias, losses


def parameters(trainer: DefaultTrainer) -> list[float]:
    return [trainer.model.weight.item(), trainer.model.bias.item()]


def train(trainer: DefaultTrainer, resume: bool = False) -> DefaultTrainer:
    trainer.resume_or_load(resume)
    trainer.train()
    return trainer


def saved(cfg: CfgNode, name: str) -> dict[str, Any]:
    return torch.load(Path(cfg.OUTPUT_DIR, name), weights_only=True)


class Interruption(Exception):
    """Stands for a job that is killed."""


class BeforeStep(HookBase):
    """Calls a function before one iteration."""

    def __init__(self, iteration: int, function: Callable[[], None]) -> None:
        self.iteration, self.function = iteration, function

    def before_step(self) -> None:
        if self.trainer.iter == self.iteration:
            self.function()


def test_training_is_sgd_on_the_summed_losses(line_cfg, trainer_class):
    trainer = train(trainer_class(line_cfg))
    weight, bias, _ = sgd_by_hand(6)
    assert parameters(trainer) == pytest.approx([weight, bias], rel=1e-5)
    assert trainer.iter == trainer.max_iter == 6


def test_checkpoint_files_and_their_contents(line_cfg, trainer_class):
    train(trainer_class(line_cfg))
    folder = Path(line_cfg.OUTPUT_DIR)
    assert sorted(path.name for path in folder.glob("*.pth")) == [
        "model_0000001.pth",
        "model_0000003.pth",
        "model_0000005.pth",
        "model_final.pth",
    ]
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"

    checkpoint = saved(line_cfg, "model_0000003.pth")
    weight, bias, _ = sgd_by_hand(4)
    assert checkpoint["model"]["weight"].item() == pytest.approx(weight, rel=1e-5)
    assert checkpoint["model"]["bias"].item() == pytest.approx(bias, rel=1e-5)
    assert checkpoint["iteration"] == checkpoint["trainer"]["iteration"] == 3
    assert checkpoint["trainer"]["hooks"]["LRScheduler"]["last_epoch"] == 4
    assert set(checkpoint["trainer"]["_trainer"]) == {"iteration", "optimizer"}


def test_metrics_json_has_last_iteration_and_evaluation(line_cfg, trainer_class):
    train(trainer_class(line_cfg))
    lines = Path(line_cfg.OUTPUT_DIR, "metrics.json").read_text().splitlines()
    training, evaluation = (json.loads(line) for line in lines)
    fits, sizes = zip(*sgd_by_hand(6)[2], strict=True)
    assert training["iteration"] == 5
    assert training["loss_fit"] == pytest.approx(np.median(fits), rel=1e-5)
    assert training["loss_size"] == pytest.approx(np.median(sizes), rel=1e-5)
    assert training["total_loss"] == pytest.approx(np.median(np.add(fits, sizes)), rel=1e-5)
    # Recorded before the schedule steps; not smoothed.
    assert training["lr"] == pytest.approx(0.005)
    assert {"time", "data_time", "eta_seconds"} <= set(training)
    assert evaluation == {"iteration": 6, "toy/num_images": 3.0}


def test_tensorboard_file_is_written(line_cfg, trainer_class):
    pytest.importorskip("tensorboard")
    train(trainer_class(line_cfg))
    assert len(list(Path(line_cfg.OUTPUT_DIR).glob("events.out.tfevents.*"))) == 1


@pytest.mark.parametrize("iteration", [2, 4, 5])
def test_resumed_run_equals_the_uninterrupted_one(line_cfg, trainer_class, iteration):
    whole_cfg = line_cfg.clone()
    whole_cfg.OUTPUT_DIR += "_whole"
    whole = train(trainer_class(whole_cfg))

    stopped = trainer_class(line_cfg)

    def interrupt() -> None:
        raise Interruption

    stopped.register_hooks([BeforeStep(iteration, interrupt)])
    with pytest.raises(Interruption):
        train(stopped)

    resumed = trainer_class(line_cfg)
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == iteration // 2 * 2
    resumed.train()
    assert parameters(resumed) == parameters(whole)
    assert resumed.optimizer.state_dict() == whole.optimizer.state_dict()


def test_finished_run_is_only_evaluated_again(line_cfg, trainer_class):
    finished = parameters(train(trainer_class(line_cfg)))
    again = train(trainer_class(line_cfg), resume=True)
    assert parameters(again) == finished
    assert len(again.storage.history("toy/num_images").values()) == 1


def test_without_resume_only_the_weights_are_loaded(line_cfg, trainer_class):
    train(trainer_class(line_cfg))
    line_cfg.MODEL.WEIGHTS = str(Path(line_cfg.OUTPUT_DIR, "model_0000003.pth"))
    trainer = trainer_class(line_cfg)
    trainer.resume_or_load(resume=False)
    assert parameters(trainer) == pytest.approx(sgd_by_hand(4)[:2], rel=1e-5)
    assert trainer.start_iter == 0
    assert trainer.scheduler.last_epoch == 0
    assert not trainer.optimizer.state


def test_resume_without_a_checkpoint_starts_at_zero(line_cfg, trainer_class):
    trainer = trainer_class(line_cfg)
    trainer.resume_or_load(resume=True)
    assert trainer.start_iter == 0
    assert parameters(trainer) == [0.5, 0.0]


def test_nan_stops_training_before_the_update(line_cfg, trainer_class, library_log):
    trainer = trainer_class(line_cfg)

    def poison() -> None:
        trainer._trainer._data_loader_iter_obj = iter([[{"x": torch.tensor(float("nan"))}]])

    trainer.register_hooks([BeforeStep(3, poison)])
    with pytest.raises(
        FloatingPointError, match=r"Loss became infinite or NaN at iteration=3!\nloss_dict = "
    ):
        train(trainer)
    assert parameters(trainer) == pytest.approx(sgd_by_hand(3)[:2], rel=1e-5)
    assert "toy/num_images" not in trainer.storage.histories(), "a failed run was evaluated"
    assert "Exception during training:" in library_log()
    assert Path(line_cfg.OUTPUT_DIR, "last_checkpoint").read_text() == "model_0000001.pth"


def test_hooks_of_the_main_process_in_order(line_cfg, trainer_class):
    assert [type(hook) for hook in trainer_class(line_cfg)._hooks] == [
        hooks.IterationTimer,
        hooks.LRScheduler,
        hooks.PeriodicCheckpointer,
        hooks.EvalHook,
        hooks.PeriodicWriter,
    ]


def test_periodic_evaluation_skips_the_last_iteration(line_cfg, trainer_class):
    line_cfg.TEST.EVAL_PERIOD = 2
    trainer = train(trainer_class(line_cfg))
    assert trainer.storage.history("toy/num_images").values() == [(3.0, 1), (3.0, 3), (3.0, 6)]


def test_train_returns_results_only_if_some_are_expected(line_cfg, trainer_class):
    assert trainer_class(line_cfg).train() is None
    line_cfg.TEST.EXPECTED_RESULTS = [["toy", "num_images", 3.0, 0.1]]
    assert trainer_class(line_cfg).train() == {"toy": {"num_images": 3.0}}
    line_cfg.TEST.EXPECTED_RESULTS = [["toy", "num_images", 4.0, 0.1]]
    with pytest.raises(SystemExit):
        trainer_class(line_cfg).train()


class Scalar(nn.Module):
    """Returns the sum of a layer's outputs as the loss, without a dict."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        return self.layer(data).sum()


@pytest.fixture
def scalar_parts() -> dict[str, Any]:
    model = Scalar(nn.Linear(1, 1))
    return {
        "model": model,
        "data_loader": [torch.ones(1, 1)] * 4,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.5),
    }


def test_one_loss_is_recorded_as_the_total_alone(scalar_parts):
    layer = scalar_parts["model"].layer
    expected = (layer.weight + layer.bias).item()
    trainer = SimpleTrainer(**scalar_parts)
    trainer.train(0, 1)
    names = set(trainer.storage.histories())
    assert names == {"total_loss", "data_time", "rank_data_time"}
    assert trainer.storage.history("total_loss").latest() == pytest.approx(expected)


def test_gradients_are_cleared_in_each_iteration(scalar_parts):
    trainer = SimpleTrainer(**scalar_parts)
    start = scalar_parts["model"].layer.bias.item()
    trainer.train(0, 4)
    assert scalar_parts["model"].layer.bias.item() == pytest.approx(start - 4 * 0.5)


def test_model_in_eval_mode_is_refused(scalar_parts):
    trainer = SimpleTrainer(**scalar_parts)
    scalar_parts["model"].eval()
    with pytest.raises(AssertionError, match=r"\[SimpleTrainer\] model was changed to eval mode!"):
        trainer.train(0, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
@pytest.mark.filterwarnings("ignore:.*GradScaler:UserWarning", "ignore:.*GradScaler:FutureWarning")
def test_mixed_precision_needs_cuda(scalar_parts):
    trainer = AMPTrainer(**scalar_parts)
    with pytest.raises(AssertionError, match="CUDA is required for AMP training!"):
        trainer.train(0, 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_mixed_precision_trains_and_keeps_its_scale():
    model = Scalar(nn.Linear(4, 4)).to("cuda")
    trainer = AMPTrainer(
        model, [torch.ones(1, 4, device="cuda")] * 2, torch.optim.SGD(model.parameters(), lr=0.5)
    )
    start = model.layer.bias.detach().clone()
    trainer.train(0, 2)
    torch.testing.assert_close(model.layer.bias.detach(), start - 2 * 0.5)
    assert trainer.state_dict()["grad_scaler"]["scale"] > 1


def test_writers_of_a_trainer(line_cfg, trainer_class):
    kinds = [type(writer).__name__ for writer in trainer_class(line_cfg).build_writers()]
    assert kinds == ["CommonMetricPrinter", "JSONWriter", "TensorboardXWriter"]
    assert Path(line_cfg.OUTPUT_DIR).is_dir()


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2's is complete")
def test_standins_default_trainer_needs_a_subclass(line_cfg):
    with pytest.raises(TypeError, match="abstract"):
        DefaultTrainer(line_cfg)


def test_config_is_scaled_to_the_number_of_processes(line_cfg):
    solver = line_cfg.SOLVER
    solver.IMS_PER_BATCH, solver.BASE_LR, solver.REFERENCE_WORLD_SIZE = 16, 0.1, 8
    solver.MAX_ITER, solver.STEPS, solver.WARMUP_ITERS = 5000, (4000,), 1000
    solver.CHECKPOINT_PERIOD = line_cfg.TEST.EVAL_PERIOD = 1000
    line_cfg.freeze()

    scaled = DefaultTrainer.auto_scale_workers(line_cfg, 16)
    assert scaled.is_frozen()
    assert (scaled.SOLVER.IMS_PER_BATCH, scaled.SOLVER.MAX_ITER) == (32, 2500)
    assert scaled.SOLVER.BASE_LR == pytest.approx(0.2)
    assert (scaled.SOLVER.STEPS, scaled.SOLVER.WARMUP_ITERS) == ((2000,), 500)
    assert (scaled.SOLVER.CHECKPOINT_PERIOD, scaled.TEST.EVAL_PERIOD) == (500, 500)
    assert scaled.SOLVER.REFERENCE_WORLD_SIZE == 16
    assert line_cfg.SOLVER.MAX_ITER == 5000
    assert DefaultTrainer.auto_scale_workers(line_cfg, 8) is line_cfg
    with pytest.raises(AssertionError):
        solver.defrost()
        solver.IMS_PER_BATCH = 15
        DefaultTrainer.auto_scale_workers(line_cfg, 16)


@pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 has precise batch norm")
def test_standin_refuses_precise_bn(line_cfg, trainer_class):
    line_cfg.TEST.PRECISE_BN.ENABLED = True
    with pytest.raises(ValueError, match="TEST.PRECISE_BN.ENABLED=True needs detectron2"):
        trainer_class(line_cfg)


def test_storage_is_closed_after_training(line_cfg, trainer_class):
    with EventStorage(0) as outer:
        train(trainer_class(line_cfg))
        assert not outer.histories()
        assert get_event_storage() is outer
