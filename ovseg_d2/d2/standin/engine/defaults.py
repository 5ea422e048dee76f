"""The default trainer (``detectron2.engine.defaults``)."""

import logging
import os
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..checkpoint import DetectionCheckpointer
from ..config import CfgNode
from ..evaluation.testing import verify_results
from ..utils import comm
from ..utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter
from ..utils.file_io import PathManager
from . import hooks
from .train_loop import HookBase, SimpleTrainer, TrainerBase

__all__ = ["DefaultTrainer"]

_logger = logging.getLogger("detectron2.engine.defaults")


def default_writers(output_dir: str, max_iter: int | None = None) -> list[EventWriter]:
    """A line on the screen, ``metrics.json`` and tensorboard.

    Args:
        output_dir: folder of the files; made if missing.
        max_iter: iterations of the run, for the time left.
    """
    PathManager.mkdirs(output_dir)
    return [
        CommonMetricPrinter(max_iter),
        JSONWriter(os.path.join(output_dir, "metrics.json")),
        TensorboardXWriter(output_dir),
    ]


class DefaultTrainer(TrainerBase):
    """A training from a config, with checkpoints, evaluation and logs.

    Departs: a subclass defines the constructor and ``test``; the constructor sets all attributes
    and registers what :meth:`build_hooks` returns. ``ovseg_d2.engine.trainer.Trainer`` is one.

    Attributes:
        cfg: the config.
        model: the model in training, inside DistributedDataParallel with several processes.
        optimizer: its optimizer.
        scheduler: the schedule of the learning rate.
        checkpointer: saves and loads the model and this trainer.
        max_iter: iterations of the training.
    """

    cfg: CfgNode
    scheduler: torch.optim.lr_scheduler.LRScheduler
    checkpointer: DetectionCheckpointer
    _trainer: SimpleTrainer

    @abstractmethod
    def __init__(self, cfg: CfgNode) -> None:
        """Build everything from a config."""

    @classmethod
    @abstractmethod
    def test(cls, cfg: CfgNode, model: nn.Module) -> Mapping[str, Any]:
        """Evaluate a model on the datasets of ``DATASETS.TEST``; returns nested numbers."""

    @property
    def model(self) -> nn.Module:
        """The model in training."""
        return self._trainer.model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the model."""
        return self._trainer.optimizer

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint in OUTPUT_DIR, or start from ``MODEL.WEIGHTS``.

        Going on restores everything and continues with the iteration after the saved one;
        starting loads weights only.

        Args:
            resume: whether to look for a checkpoint at all.
        """
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            self.start_iter = self.iter + 1

    def build_hooks(self) -> list[HookBase]:
        """Timer, learning rate, checkpoints, evaluation, writers; the files are rank 0's.

        Checkpoints come before evaluation, which may fail; writers come last, after its results.

        Raises:
            ValueError: ``TEST.PRECISE_BN.ENABLED``, which only detectron2 itself has.
        """
        cfg = self.cfg
        if cfg.TEST.PRECISE_BN.ENABLED:
            raise ValueError(
                "TEST.PRECISE_BN.ENABLED=True needs detectron2; install it or set it to False."
            )
        trainer = weakref.proxy(self)

        def evaluate() -> Mapping[str, Any]:
            trainer._last_eval_results = trainer.test(trainer.cfg, trainer.model)
            return trainer._last_eval_results

        built: list[HookBase] = [hooks.IterationTimer(), hooks.LRScheduler()]
        if comm.is_main_process():
            built.append(
                hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD)
            )
        built.append(hooks.EvalHook(cfg.TEST.EVAL_PERIOD, evaluate))
        if comm.is_main_process():
            built.append(hooks.PeriodicWriter(self.build_writers(), period=20))
        return built

    def build_writers(self) -> list[EventWriter]:
        """See :func:`default_writers`."""
        return default_writers(self.cfg.OUTPUT_DIR, self.max_iter)

    def train(self) -> Mapping[str, Any] | None:
        """Run the training.

        Returns:
            The last evaluation's results on rank 0 if ``TEST.EXPECTED_RESULTS`` is set, after
            they were compared with it; else None.
        """
        super().train(self.start_iter, self.max_iter)
        if not (self.cfg.TEST.EXPECTED_RESULTS and comm.is_main_process()):
            return None
        verify_results(self.cfg, self._last_eval_results)
        return self._last_eval_results

    def run_step(self) -> None:
        """One step of the inner trainer, which holds model, data and optimizer."""
        self._trainer.iter = self.iter
        self._trainer.run_step()

    def state_dict(self) -> dict[str, Any]:
        """As the base's, with the inner trainer's state."""
        return {**super().state_dict(), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load the result of :meth:`state_dict`."""
        super().load_state_dict(state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    @staticmethod
    def auto_scale_workers(cfg: CfgNode, num_workers: int) -> CfgNode:
        """Fit a config to another number of processes than it was written for.

        With ``SOLVER.REFERENCE_WORLD_SIZE`` > 0, batch size and learning rate grow, and the
        numbers of iterations shrink, by ``num_workers / REFERENCE_WORLD_SIZE``.

        Args:
            cfg: the config; left as it is.
            num_workers: processes of the job.

        Returns:
            ``cfg`` itself where nothing changes, else a changed copy.

        Raises:
            AssertionError: the reference does not divide ``SOLVER.IMS_PER_BATCH``.
        """
        reference = cfg.SOLVER.REFERENCE_WORLD_SIZE
        if reference in (0, num_workers):
            return cfg
        batch_size = cfg.SOLVER.IMS_PER_BATCH
        assert batch_size % reference == 0, (
            f"SOLVER.REFERENCE_WORLD_SIZE={reference} does not divide "
            f"SOLVER.IMS_PER_BATCH={batch_size}."
        )
        scale = num_workers / reference
        was_frozen = cfg.is_frozen()
        cfg = cfg.clone()
        cfg.defrost()
        solver = cfg.SOLVER
        solver.IMS_PER_BATCH = round(batch_size * scale)
        solver.BASE_LR = solver.BASE_LR * scale
        for key in ("MAX_ITER", "WARMUP_ITERS", "CHECKPOINT_PERIOD"):
            solver[key] = round(solver[key] / scale)
        solver.STEPS = tuple(round(step / scale) for step in solver.STEPS)
        cfg.TEST.EVAL_PERIOD = round(cfg.TEST.EVAL_PERIOD / scale)
        solver.REFERENCE_WORLD_SIZE = num_workers
        _logger.info(
            f"Config scaled from {reference} to {num_workers} processes: "
            f"IMS_PER_BATCH {solver.IMS_PER_BATCH}, BASE_LR {solver.BASE_LR}, "
            f"MAX_ITER {solver.MAX_ITER}, WARMUP_ITERS {solver.WARMUP_ITERS}"
        )
        if was_frozen:
            cfg.freeze()
        return cfg
