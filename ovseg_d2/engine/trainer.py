"""The plugin's trainer: detectron2's, resumable to the sample, and on CPUs too."""

import inspect
import logging
import re
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ..d2.config import CfgNode
from ..d2.engine import AMPTrainer, DefaultTrainer, HookBase, SimpleTrainer, TrainerBase
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from ..d2.utils.events import EventWriter
from ..d2.utils.logger import setup_logger
from ..data.loaders import TrainLoader, build_test_loader, build_train_loader
from ..plugin import build_model
from .checkpointing import Checkpointer
from .cluster_report import ReportClusters
from .cpu_amp import CPUAMPTrainer
from .evaluate import build_evaluator, evaluate
from .hooks import PlotScores, SeedEachStep, drop_unfinished_line
from .optimizer import build_optimizer
from .schedule import build_lr_scheduler

__all__ = ["DivergedError", "Trainer"]

_logger = logging.getLogger(__name__)
# A loss in detectron2's error message, such as "'loss_mask': np.float64(nan)".
_LOSS = re.compile(r"'([\w.]+)': (?:np\.\w+\()?([-+\w.]+)")


class DivergedError(ValueError, FloatingPointError):
    """A loss is not finite: one sentence with the step, the loss and the keys to try."""


class Trainer(DefaultTrainer):
    """Trains the model of a config; ``resume_or_load(resume=True)`` continues a killed run.

    Departs from detectron2's ``DefaultTrainer``: several processes and mixed precision work on CPUs
    too, and data and dropout are functions of (seed, iteration, rank, sample), so that a resumed
    run repeats the uninterrupted one.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build model, optimizer, data and hooks.

        Args:
            cfg: frozen or not; the number of workers is scaled as in detectron2.

        Raises:
            ValueError: a config that cannot be built; the sentence names the key.
        """
        # DefaultTrainer's constructor passes device_ids for models on CPUs, which torch refuses.
        TrainerBase.__init__(self)
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        model = _distribute(model)
        self._trainer = _trainer_type(cfg)(model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = Checkpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue from the last checkpoint, data included, or load ``MODEL.WEIGHTS``.

        If ``SOLVER.MAX_ITER`` differs from the checkpoint's, the schedule is that of the new length
        from the resumed step on.

        Raises:
            FileNotFoundError: the checkpoint does not exist.
            ValueError: it cannot be read, or does not fit (:class:`~.checkpointing.Checkpointer`).
        """
        super().resume_or_load(resume)
        if self.start_iter >= self.max_iter > 0:
            _logger.warning(
                "nothing is left to train: %d iterations are done and SOLVER.MAX_ITER is %d; raise "
                "it to continue",
                self.start_iter,
                self.max_iter,
            )
        loader = self._trainer.data_loader
        if isinstance(loader, TrainLoader):
            loader.start_at(self.start_iter)

    def run_step(self) -> None:
        """One step of detectron2's inner trainer.

        Raises:
            DivergedError: a loss, or the logits behind it, is not finite.
        """
        try:
            super().run_step()
        except FloatingPointError as error:
            losses = [f"{name} {value}" for name, value in _LOSS.findall(str(error))]
            solver = self.cfg.SOLVER
            raise DivergedError(
                f"training has diverged: at step {self.iter} "
                f"{'the losses are ' + ', '.join(losses) if losses else 'logits are not finite'}; "
                f"lower SOLVER.BASE_LR (now {solver.BASE_LR:g}), or bound the gradients with "
                f"SOLVER.MAX_GRAD_NORM (now {solver.MAX_GRAD_NORM:g}, where 0 is no bound)"
            ) from error

    def before_train(self) -> None:
        """Call the hooks, and start the loader outside of any step.

        A starting loader draws a random number. Within a step, that would shift the model's random
        numbers in the first step of a resumed run.
        """
        super().before_train()
        if self.start_iter < self.max_iter:
            _ = self._trainer._data_loader_iter

    def build_hooks(self) -> list[HookBase]:
        """detectron2's hooks, the seeding of every step, the plot of scores, the cluster report."""
        hooks = [SeedEachStep(self.cfg.SEED), *super().build_hooks()]
        if comm.is_main_process():  # last, after the metrics are written
            hooks.append(PlotScores(self.cfg.OUTPUT_DIR, self.cfg.TEST.EVAL_PERIOD))
            hooks.append(ReportClusters(self.cfg.OUTPUT_DIR))
        return hooks

    def build_writers(self) -> list[EventWriter]:
        """detectron2's writers, after an unfinished line of ``metrics.json`` is removed."""
        drop_unfinished_line(Path(self.cfg.OUTPUT_DIR) / "metrics.json")
        return super().build_writers()

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The model of ``MODEL.META_ARCHITECTURE``; its structure is logged at debug level."""
        model = build_model(cfg)
        sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
        _logger.info(
            "%s: %.1f million parameters, %.1f million of them trainable, on %s",
            type(model).__name__,
            sum(size for size, _ in sizes) / 1e6,
            sum(size for size, trainable in sizes if trainable) / 1e6,
            cfg.MODEL.DEVICE,
        )
        _logger.debug("model:\n%s", model)
        return model

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> TrainLoader:
        """See :func:`~ovseg_d2.data.loaders.build_train_loader`."""
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> DataLoader:
        """See :func:`~ovseg_d2.data.loaders.build_test_loader`."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(
        cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None
    ) -> DatasetEvaluator:
        """See :func:`~.evaluate.build_evaluator`."""
        return build_evaluator(cfg, dataset_name, output_folder)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See :func:`~.optimizer.build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """See :func:`~.schedule.build_lr_scheduler`."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | list[DatasetEvaluator] | None = None,
    ) -> OrderedDict[str, Any]:
        """See :func:`~.evaluate.evaluate`; without test datasets nothing is evaluated."""
        if not cfg.DATASETS.TEST:
            return OrderedDict()
        return evaluate(
            cfg,
            model,
            evaluators,
            build_loader=cls.build_test_loader,
            build_evaluator=cls.build_evaluator,
        )


def _trainer_type(cfg: CfgNode) -> type[SimpleTrainer]:
    if not cfg.SOLVER.AMP.ENABLED:
        return SimpleTrainer
    return CPUAMPTrainer if torch.device(cfg.MODEL.DEVICE).type == "cpu" else AMPTrainer


def _distribute(model: nn.Module) -> nn.Module:
    """Wrap a model for several processes; for one process it is returned unchanged."""
    if comm.get_world_size() == 1:
        return model
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    # Each process keeps its own batch statistics; newer versions of torch renamed the option.
    switch = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {switch: False}
    if next(model.parameters()).is_cuda:
        options["device_ids"] = [comm.get_local_rank()]
    return DistributedDataParallel(model, **options)
