"""A model of two numbers and its trainer, whose training can be computed by hand."""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ovseg_d2.d2.checkpoint import DetectionCheckpointer
from ovseg_d2.d2.config import CfgNode, get_cfg
from ovseg_d2.d2.engine import DefaultTrainer, SimpleTrainer, TrainerBase
from ovseg_d2.d2.evaluation import DatasetEvaluator, inference_on_dataset
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, build_model
from ovseg_d2.d2.solver import build_lr_scheduler
from ovseg_d2.d2.utils.logger import setup_logger

XS = torch.tensor([0.0, 1.0, 2.0, 3.0])


@META_ARCH_REGISTRY.register()
class OVSegTestLine(nn.Module):
    """Fits ``weight * x + bias`` to ``2 x + 1``; in eval mode it returns its inputs."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, inputs: list[dict[str, Any]]) -> Any:
        if not self.training:
            return [{"grad_enabled": torch.is_grad_enabled(), **sample} for sample in inputs]
        xs = torch.stack([sample["x"] for sample in inputs])
        errors = self.weight * xs + self.bias - (2 * xs + 1)
        return {"loss_fit": errors.square().mean(), "loss_size": 0.1 * self.weight.square()}


class _SameBatch:
    """An endless loader; every batch is the same, so that a resumed run sees the same data."""

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        while True:
            yield [{"x": x} for x in XS]


class CountingEvaluator(DatasetEvaluator):
    """Scores a dataset with the number of its images."""

    def reset(self) -> None:
        self.num_images = 0

    def process(self, inputs: list[Any], outputs: list[Any]) -> None:
        self.num_images += len(inputs)

    def evaluate(self) -> OrderedDict[str, Any]:
        return OrderedDict(toy={"num_images": float(self.num_images)})


class LineTrainer(DefaultTrainer):
    """Trains the line; dataset "<name>_<n>" has n images."""

    def __init__(self, cfg: CfgNode) -> None:
        TrainerBase.__init__(self)
        self.cfg, self.max_iter = cfg, cfg.SOLVER.MAX_ITER
        model = build_model(cfg)
        optimizer = torch.optim.SGD(
            model.parameters(), lr=cfg.SOLVER.BASE_LR, momentum=cfg.SOLVER.MOMENTUM
        )
        self._trainer = SimpleTrainer(model, _SameBatch(), optimizer)
        self.scheduler = build_lr_scheduler(cfg, optimizer)
        self.checkpointer = DetectionCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        self.register_hooks(self.build_hooks())

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module) -> Mapping[str, Any]:
        num_images = int(cfg.DATASETS.TEST[0].split("_")[1])
        loader = [[{"x": torch.tensor(0.0)}]] * num_images
        return inference_on_dataset(model, loader, CountingEvaluator())


@pytest.fixture
def trainer_class() -> type[DefaultTrainer]:
    """Give the trainer of the line."""
    return LineTrainer


@pytest.fixture
def line_cfg(tmp_path: Path) -> CfgNode:
    """Give the config of six iterations on the CPU, with momentum and a drop of the rate."""
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "OVSegTestLine"
    cfg.DATASETS.TEST = ("toy_3",)
    cfg.SOLVER.MAX_ITER = 6
    cfg.SOLVER.BASE_LR = 0.05
    cfg.SOLVER.STEPS = (5,)
    cfg.SOLVER.WARMUP_ITERS = 0
    cfg.SOLVER.WEIGHT_DECAY = 0.0
    cfg.SOLVER.CHECKPOINT_PERIOD = 2
    cfg.OUTPUT_DIR = str(tmp_path / "output")
    return cfg


@pytest.fixture(autouse=True)
def library_log() -> Iterator[Callable[[], list[str]]]:
    """Give a function that returns what the library has logged; put its loggers back afterwards."""
    records: list[logging.LogRecord] = []

    class _Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(_Keep())
    yield lambda: [record.getMessage() for record in records]
    setup_logger.cache_clear()
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)
