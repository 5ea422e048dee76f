"""Tiny models built from a config, a check of their attributes, and short trainings."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.d2.engine import HookBase
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine import Trainer


@pytest.fixture
def tiny_cfg(tiny_opts: list[str]) -> Callable[..., CfgNode]:
    """Give a function from further keys and values to a config of the tiny CLIP."""
    return lambda *opts: load_config(None, [*tiny_opts, *opts])


@pytest.fixture
def build(tiny_cfg: Callable[..., CfgNode]) -> Callable[..., Any]:
    """Give a function from further keys and values to a tiny model in evaluation mode."""

    def build_tiny(*opts: str) -> Any:
        torch.manual_seed(0)
        model = build_model(tiny_cfg(*opts)).eval()
        model.may_answer = True  # with random weights
        return model

    return build_tiny


@pytest.fixture
def check_attributes() -> Callable[[Any, dict[str, Any]], None]:
    """Give a function that compares attributes, by dotted path, with expected values."""

    def check(root: Any, expected: dict[str, Any]) -> None:
        assert {path: attrgetter(path)(root) for path in expected} == expected

    return check


class _Losses(HookBase):
    def __init__(self, losses: dict[int, float], stop_after: int | None) -> None:
        self._losses, self._stop_after = losses, stop_after

    def after_step(self) -> None:
        self._losses[self.trainer.iter] = self.trainer.storage.latest()["total_loss"][0]
        if self.trainer.iter == self._stop_after:
            raise KeyboardInterrupt


@pytest.fixture
def run() -> Callable[..., Trainer]:
    """Give a function that trains, notes each step's loss and may be interrupted after one."""

    def train(
        cfg: CfgNode,
        losses: dict[int, float],
        *,
        resume: bool = False,
        stop_after: int | None = None,
    ) -> Trainer:
        trainer = Trainer(cfg)
        trainer.register_hooks([_Losses(losses, stop_after)])
        trainer.resume_or_load(resume=resume)
        trainer.train()
        return trainer

    return train
