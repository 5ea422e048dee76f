"""CLIP's tower, last block and text bank, built from a config."""

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
    """Build the CLIP that ``MODEL.CLIP`` describes, on the CPU.

    The whole config is checked first, because it may have been changed since ``load_config``, or
    built without it; every model of the plugin builds its tower here.

    Raises:
        ValueError: a wrong value of any key, an unavailable ``MODEL.DEVICE``, an unknown model, or
            weights that do not fit.
        FileNotFoundError: a weight or config file that does not exist.
    """
    check_config(cfg)
    check_device(cfg.MODEL.DEVICE)
    clip = cfg.MODEL.CLIP
    # A checkpoint of the whole model holds its CLIP.
    has_checkpoint = cfg.MODEL.WEIGHTS not in ("", "random")
    default = "random" if has_checkpoint and clip.NAME != "ShapesCLIP" else None
    return load_clip(
        clip.NAME,
        clip.PRETRAINED or default,
        image_weights=clip.IMAGE_WEIGHTS or None,
        quick_gelu=_QUICK_GELU[clip.QUICK_GELU],
        patch_dropout=clip.PATCH_DROPOUT,
        layer_norm_eps=clip.LAYER_NORM_EPS or None,
        mean=list(clip.PIXEL_MEAN) or None,
        std=list(clip.PIXEL_STD) or None,
    )


def build_last_block(cfg: CfgNode) -> LastBlock:
    """Return the last block that ``MODEL.CLIP.LAST_BLOCK`` describes."""
    block = cfg.MODEL.CLIP.LAST_BLOCK
    return LastBlock(
        residual=block.RESIDUAL,
        mlp=block.MLP,
        attention=block.ATTENTION,
        neighbourhood_std=block.NEIGHBOURHOOD_STD,
    )


def build_text_bank(cfg: CfgNode, tower: CLIPTower) -> TextBank:
    """Build the text bank that ``MODEL.TEXT`` describes, on a tower."""
    text = cfg.MODEL.TEXT
    return TextBank(
        tower,
        named_or_listed(text.TEMPLATES),
        synonyms=text.SYNONYMS,
        cache_dir=Path(text.CACHE_DIR) if text.CACHE_DIR else None,
        batch_size=text.BATCH_SIZE,
    )


def named_or_listed(templates: Sequence[str]) -> str | Sequence[str]:
    """Return the name of a template set if it is a config's only item, else the templates."""
    named = len(templates) == 1 and "{" not in templates[0]
    return templates[0] if named else templates
