"""CLIP's tower, last block and text bank, built from a config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..clip import (
    Affinity,
    Calibration,
    CLIPTower,
    LastBlock,
    Training,
    adopt_training,
    load_clip,
    read_clip,
    tag_training,
)
from ..config import check_config, check_device
from ..d2.config import CfgNode
from ..text import TextBank, read_word_templates
from .arrival import await_weights
from .weights import held_weights

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
    built without it; every model of the plugin builds its tower here. Where ``MODEL.WEIGHTS`` or
    ``MODEL.OVSEG.CLIP_WEIGHTS`` hold a whole CLIP, ``MODEL.CLIP.PRETRAINED`` is not looked for.

    Raises:
        ValueError: a wrong value of any key, an unavailable ``MODEL.DEVICE``, an unknown model, or
            weights that do not fit.
        FileNotFoundError: a weight or config file that does not exist.
    """
    check_config(cfg)
    check_device(cfg.MODEL.DEVICE)
    clip = cfg.MODEL.CLIP
    held = held_weights(cfg)
    adapted = cfg.MODEL.META_ARCHITECTURE == "OVSeg" and bool(cfg.MODEL.OVSEG.CLIP_WEIGHTS)
    # An image half alone has the text half of PRETRAINED.
    whole = adapted and read_clip(Path(cfg.MODEL.OVSEG.CLIP_WEIGHTS), values=False).has_text
    training = Training() if adapted else held.training
    training = training.or_else(tag_training(clip.NAME, clip.PRETRAINED))
    # The weights of ShapesCLIP are in the package, and those of a file may tell the activation.
    packaged = clip.NAME == "ShapesCLIP" and not clip.PRETRAINED
    known = training.quick_gelu is not None or clip.PRETRAINED in ("", "random")
    skipped = (whole if adapted else held.clip) and known and not packaged
    unseen = "random" if held.unseen and not packaged else None
    tower = load_clip(
        clip.NAME,
        "random" if skipped else clip.PRETRAINED or unseen,
        image_weights=None if skipped else clip.IMAGE_WEIGHTS or None,
        quick_gelu=_QUICK_GELU[clip.QUICK_GELU],
        patch_dropout=clip.PATCH_DROPOUT,
        layer_norm_eps=clip.LAYER_NORM_EPS or None,
        mean=list(clip.PIXEL_MEAN) or None,
        std=list(clip.PIXEL_STD) or None,
    )
    if adapted or held.clip:
        adopt_training(tower, training)
    if skipped and not adapted and clip.PRETRAINED != "random":
        await_weights(tower, "CLIP")
    return tower


def build_last_block(cfg: CfgNode) -> LastBlock:
    """Return the last block that ``MODEL.CLIP.LAST_BLOCK`` describes."""
    block = cfg.MODEL.CLIP.LAST_BLOCK
    calibration = block.CALIBRATION
    return LastBlock(
        residual=block.RESIDUAL,
        mlp=block.MLP,
        attention=block.ATTENTION,
        neighbourhood_std=block.NEIGHBOURHOOD_STD,
        affinity=Affinity(
            mean_weight=block.AFFINITY.MEAN_WEIGHT,
            scale=block.AFFINITY.SCALE,
            block=block.AFFINITY.BLOCK,
        ),
        calibration=Calibration(
            outlier_share=calibration.OUTLIER_SHARE,
            outlier_neighbours=calibration.OUTLIER_NEIGHBOURS,
            affinity_block=calibration.AFFINITY_BLOCK,
            mixing_block=calibration.MIXING_BLOCK,
            threshold=calibration.THRESHOLD,
            first_level=calibration.FIRST_LEVEL,
            last_level=calibration.LAST_LEVEL,
            class_share=calibration.CLASS_SHARE,
        ),
    )


def build_text_bank(cfg: CfgNode, tower: CLIPTower) -> TextBank:
    """Build the text bank that ``MODEL.TEXT`` describes, on a tower."""
    text = cfg.MODEL.TEXT
    return TextBank(
        tower,
        named_or_listed(text.TEMPLATES),
        synonyms=text.SYNONYMS,
        word_templates=read_word_templates(text.WORD_TEMPLATES) if text.WORD_TEMPLATES else None,
        underscores_are_spaces=text.UNDERSCORES_ARE_SPACES,
        cache_dir=Path(text.CACHE_DIR) if text.CACHE_DIR else None,
        batch_size=text.BATCH_SIZE,
    )


def named_or_listed(templates: Sequence[str]) -> str | Sequence[str]:
    """Return the name of a template set if it is a config's only item, else the templates."""
    named = len(templates) == 1 and "{" not in templates[0]
    return templates[0] if named else templates
