"""Training as most projects do it (``detectron2.engine.defaults``)."""

import inspect
import logging
import os
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..checkpoint import DetectionCheckpointer
from ..config import CfgNode
from ..data import build_detection_test_loader, build_detection_train_loader
from ..evaluation import (
    DatasetEvaluator,
    inference_on_dataset,
    print_csv_format,
    verify_results,
)
from ..modeling import build_model
from ..solver import build_lr_scheduler, build_optimizer
from ..utils import comm
from ..utils.events import CommonMetricPrinter, EventWriter, JSONWriter, TensorboardXWriter
from ..utils.file_io import PathManager
from ..utils.logger import setup_logger
from . import hooks
from .train_loop import AMPTrainer, HookBase, SimpleTrainer, TrainerBase

__all__ = ["DefaultTrainer", "create_ddp_model", "default_writers"]

_logger = logging.getLogger("detectron2.engine.defaults")


def create_ddp_model(model: nn.Module, **kwargs: Any) -> nn.Module:
    """Wrap a model for training in several processes; a lone process gets it back as it is.

    Args:
        model: parameters on this process's device.
        **kwargs: passed to ``DistributedDataParallel``; ``device_ids`` defaults to this process's
            GPU for a model on CUDA. Departs: detectron2 gives it for CPU models too, which torch
            refuses.
    """
    if comm.get_world_size() == 1:
        return model
    if any(parameter.is_cuda for parameter in model.parameters()):
        kwargs.setdefault("device_ids", [comm.get_local_rank()])
    return DistributedDataParallel(model, **kwargs)


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
    """A training as the config describes it, with checkpoints, evaluation and logs.

    Subclasses override the ``build_*`` methods; ``build_evaluator`` has no default.

    Attributes:
        cfg: the config.
        model: what is trained, wrapped where there are several processes.
        data_loader: where its data come from.
        optimizer: what updates it.
        scheduler: the learning rate's course.
        checkpointer: saves and loads the model and this trainer.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """Build everything, in an order that subclasses may rely on."""
        super().__init__()
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        cfg = self.auto_scale_workers(cfg, comm.get_world_size())
        self.cfg = cfg
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        # Each process keeps its own batch statistics; later versions of torch renamed the switch.
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        switch = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        model = create_ddp_model(model, **{switch: False})
        trainer_type = AMPTrainer if cfg.SOLVER.AMP.ENABLED else SimpleTrainer
        self._trainer = trainer_type(model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        # A proxy: the checkpointer must not keep its owner alive.
        self.checkpointer = DetectionCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.register_hooks(self.build_hooks())

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self._trainer.model

    @model.setter
    def model(self, model: nn.Module) -> None:
        self._trainer.model = model

    @property
    def data_loader(self) -> Iterable[Any]:
        """Where its data come from."""
        return self._trainer.data_loader

    @data_loader.setter
    def data_loader(self, data_loader: Iterable[Any]) -> None:
        self._trainer.data_loader = data_loader

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What updates it."""
        return self._trainer.optimizer

    @optimizer.setter
    def optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        self._trainer.optimizer = optimizer

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

        Checkpoints come before evaluation, so that one that fails can be looked into; writers
        come last, to see its results.

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
        """Take back what :meth:`state_dict` gave."""
        super().load_state_dict(state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """The model that ``MODEL.META_ARCHITECTURE`` names."""
        model = build_model(cfg)
        _logger.info(f"Model:\n{model}")
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """See :func:`ovseg_d2.d2.solver.build_optimizer`."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(
        cls, cfg: CfgNode, optimizer: torch.optim.Optimizer
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """See :func:`ovseg_d2.d2.solver.build_lr_scheduler`."""
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Iterable[Any]:
        """See :func:`ovseg_d2.d2.data.build_detection_train_loader`."""
        return build_detection_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[Any]:
        """See :func:`ovseg_d2.d2.data.build_detection_test_loader`."""
        return build_detection_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """What judges the model on a dataset; there is no default.

        Raises:
            NotImplementedError: always; :meth:`test` takes it for "do not evaluate".
        """
        raise NotImplementedError(
            f"No evaluator for {dataset_name!r}: define build_evaluator() in the trainer's "
            "class, or pass `evaluators` to test()."
        )

    @classmethod
    def test(
        cls,
        cfg: CfgNode,
        model: nn.Module,
        evaluators: DatasetEvaluator | Sequence[DatasetEvaluator] | None = None,
    ) -> Mapping[str, Any]:
        """Evaluate on every dataset of ``DATASETS.TEST``.

        Args:
            cfg: the config.
            model: with its weights.
            evaluators: one for each dataset; from :meth:`build_evaluator` when None.

        Returns:
            Results by dataset; for a single dataset its results themselves. {} for a dataset
            without an evaluator, and on ranks other than 0.

        Raises:
            AssertionError: the number of evaluators is not that of datasets, or an evaluator
                gives rank 0 anything but a dict.
        """
        names = cfg.DATASETS.TEST
        if isinstance(evaluators, DatasetEvaluator):
            evaluators = [evaluators]
        if evaluators is not None:
            assert len(evaluators) == len(names), (
                f"{len(evaluators)} evaluators for the {len(names)} datasets of DATASETS.TEST; "
                "give one for each."
            )
        results: OrderedDict[str, Any] = OrderedDict()
        for index, name in enumerate(names):
            loader = cls.build_test_loader(cfg, name)
            try:
                evaluator = evaluators[index] if evaluators else cls.build_evaluator(cfg, name)
            except NotImplementedError as error:
                _logger.warning(str(error))
                results[name] = {}
                continue
            results[name] = inference_on_dataset(model, loader, evaluator)
            if comm.is_main_process():
                assert isinstance(results[name], dict), (
                    "Evaluator must return a dict on the main process. "
                    f"Got {results[name]} instead."
                )
                _logger.info(f"Evaluation results for {name} in csv format:")
                print_csv_format(results[name])
        return next(iter(results.values())) if len(results) == 1 else results

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
