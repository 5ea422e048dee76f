"""A model of two numbers and a trainer for it: what a training does to them can be worked out."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ovseg_d2.d2.config import CfgNode, get_cfg
from ovseg_d2.d2.engine import DefaultTrainer
from ovseg_d2.d2.evaluation import DatasetEvaluator
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY
from ovseg_d2.d2.utils.logger import setup_logger

XS = torch.tensor([0.0, 1.0, 2.0, 3.0])


@META_ARCH_REGISTRY.register()
class OVSegTestLine(nn.Module):
    """Fits ``weight * x + bias`` to ``2 x + 1``; in eval mode it hands back what it was given."""

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
    """An endless loader; every batch is the same, so a resumed run sees what it would have seen."""

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

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return _SameBatch()

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        return [[{"x": torch.tensor(0.0)}]] * int(dataset_name.split("_")[1])

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return CountingEvaluator()


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
