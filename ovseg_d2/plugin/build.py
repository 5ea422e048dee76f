"""Parts of the plain half, built as a config describes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..clip import CLIPTower, LastBlock, load_clip
from ..config import check_config, check_device
from ..d2.config import CfgNode
from ..text import TextBank

__all__ = ["build_last_block", "build_text_bank", "build_tower", "named_or_listed"]

_QUICK_GELU: dict[str, bool | Literal["text"] | None] = {
    "auto": None,
    "on": True,
    "off": False,
    "text": "text",
}


def build_tower(cfg: CfgNode) -> CLIPTower:
    """The CLIP that ``MODEL.CLIP`` describes, on the CPU.

    Every model of the plugin is built on it, so the whole config is checked here too: it may have
    been changed after its loading, or never been loaded by ``load_config``.

    Raises:
        ValueError: a wrong value of any key, a ``MODEL.DEVICE`` that is not there, an unknown
            model, or weights that do not fit.
        FileNotFoundError: a weight or config file that does not exist.
    """
    check_config(cfg)
    check_device(cfg.MODEL.DEVICE)
    clip = cfg.MODEL.CLIP
    # A checkpoint of the whole model brings its CLIP along.
    has_checkpoint = cfg.MODEL.WEIGHTS not in ("", "random")
    without = "random" if has_checkpoint and clip.NAME != "ShapesCLIP" else None
    return load_clip(
        clip.NAME,
        clip.PRETRAINED or without,
        quick_gelu=_QUICK_GELU[clip.QUICK_GELU],
        patch_dropout=clip.PATCH_DROPOUT,
        layer_norm_eps=clip.LAYER_NORM_EPS or None,
        mean=list(clip.PIXEL_MEAN) or None,
        std=list(clip.PIXEL_STD) or None,
    )


def build_last_block(cfg: CfgNode) -> LastBlock:
    """The last block that ``MODEL.CLIP.LAST_BLOCK`` describes."""
    block = cfg.MODEL.CLIP.LAST_BLOCK
    return LastBlock(
        residual=block.RESIDUAL,
        mlp=block.MLP,
        attention=block.ATTENTION,
        neighbourhood_std=block.NEIGHBOURHOOD_STD,
    )


def build_text_bank(cfg: CfgNode, tower: CLIPTower) -> TextBank:
    """The text bank that ``MODEL.TEXT`` describes, on a tower."""
    text = cfg.MODEL.TEXT
    return TextBank(
        tower,
        named_or_listed(text.TEMPLATES),
        synonyms=text.SYNONYMS,
        cache_dir=Path(text.CACHE_DIR) if text.CACHE_DIR else None,
        batch_size=text.BATCH_SIZE,
    )


def named_or_listed(templates: Sequence[str]) -> str | Sequence[str]:
    """The name of a template set where a config's list holds nothing else, or its templates."""
    named = len(templates) == 1 and "{" not in templates[0]
    return templates[0] if named else templates
