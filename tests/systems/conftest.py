"""A random two-layer CLIP tower with patches of 8 pixels, for the tests of the systems."""

from typing import Any

import open_clip
import pytest

from ovseg_d2.clip import CLIPTower


@pytest.fixture
def tower(tiny_clip_config: dict[str, Any]) -> CLIPTower:
    """Give the tower, in training mode."""
    model = open_clip.CLIP(**tiny_clip_config)
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)
