"""A real, random, two-layer CLIP tower for the text tests."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch

from ovseg_d2.clip import CLIPTower


@pytest.fixture
def build_tower(tiny_clip_config: dict[str, Any]) -> Callable[..., CLIPTower]:
    """Give a function that builds the same random tower each time."""

    def build(**text_cfg: Any) -> CLIPTower:
        torch.manual_seed(0)
        config = tiny_clip_config | {"text_cfg": tiny_clip_config["text_cfg"] | text_cfg}
        model = open_clip.CLIP(**config).eval()
        # open_clip starts with tiny weights, and all texts would then look alike.
        with torch.no_grad():
            model.token_embedding.weight.normal_(std=1.0)
        return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.5,) * 3)

    return build


@pytest.fixture
def tower(build_tower: Callable[..., CLIPTower]) -> CLIPTower:
    """Give the random tower."""
    return build_tower()
