"""A tiny MaskCLIP and CLIPPretrain, built as a config describes them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.d2.modeling import build_model


@pytest.fixture
def tiny_cfg(tiny_opts: list[str]) -> Callable[..., CfgNode]:
    """Give a function from further keys and values to a config of the tiny CLIP."""
    return lambda *opts: load_config(None, [*tiny_opts, *opts])


@pytest.fixture
def build(tiny_cfg: Callable[..., CfgNode]) -> Callable[..., Any]:
    """Give a function from further keys and values to a tiny model in evaluation mode."""

    def build_tiny(*opts: str) -> Any:
        torch.manual_seed(0)
        return build_model(tiny_cfg(*opts)).eval()

    return build_tiny
