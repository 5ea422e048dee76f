"""A tiny CLIP tower with weights that hide nothing: every bias and scale is random."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import nn

from ovseg_d2.clip import CLIPTower


@pytest.fixture(scope="session")
def tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer(context_length=77)


@pytest.fixture
def build_model(tiny_clip_config) -> Callable[..., nn.Module]:
    """Give a function that builds the tiny model, with changes to its config by section."""

    def build(
        vision: dict[str, Any] | None = None, text: dict[str, Any] | None = None, **top: Any
    ) -> nn.Module:
        config = {
            **tiny_clip_config,
            "vision_cfg": {**tiny_clip_config["vision_cfg"], **(vision or {})},
            "text_cfg": {**tiny_clip_config["text_cfg"], **(text or {})},
            **top,
        }
        custom_text = config.pop("custom_text", False)
        model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model.eval()

    return build


@pytest.fixture
def build_tower(build_model, tokenizer) -> Callable[..., CLIPTower]:
    """Like `build_model`, with the tokenizer and OpenAI's statistics around it."""

    def build(**changes: Any) -> CLIPTower:
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
        return CLIPTower(build_model(**changes), tokenizer, mean, std)

    return build


@pytest.fixture
def tower(build_tower) -> CLIPTower:
    return build_tower()
