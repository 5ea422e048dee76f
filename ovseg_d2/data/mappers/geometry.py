"""Resizing, cropping and flipping of training pictures, as detectron2's own keys describe them."""

from collections.abc import Sequence

from ...d2.config import CfgNode
from ...d2.data.transforms import (
    Augmentation,
    RandomCrop,
    RandomCrop_CategoryAreaConstraint,
    RandomFlip,
    ResizeScale,
    ResizeShortestEdge,
)

__all__ = ["geometry_from_config"]


def geometry_from_config(cfg: CfgNode, *, balance: bool = False) -> list[Augmentation]:
    """detectron2's augmentations, in their order.

    Args:
        cfg: reads ``INPUT``'s training sizes, or ``SCALE_TRAIN`` where that has one, ``CROP`` and
            ``RANDOM_FLIP``.
        balance: crops are those of which no class takes too much, ``SINGLE_CATEGORY_MAX_AREA``;
            they are drawn from picture and labels.

    Raises:
        ValueError: another way to flip, a size or range that is none, or crops whose size does not
            go with their type.
    """
    crop = cfg.INPUT.CROP
    if crop.ENABLED:
        _check_crop(crop.TYPE, crop.SIZE)
    geometry: list[Augmentation] = [_resizing(cfg)]
    if crop.ENABLED and balance:
        geometry.append(
            RandomCrop_CategoryAreaConstraint(
                crop.TYPE,
                crop.SIZE,
                crop.SINGLE_CATEGORY_MAX_AREA,
                cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
            )
        )
    elif crop.ENABLED:
        geometry.append(RandomCrop(crop.TYPE, crop.SIZE))
    flip = cfg.INPUT.RANDOM_FLIP
    if flip not in ("none", "horizontal", "vertical"):
        raise ValueError(f"INPUT.RANDOM_FLIP {flip!r} is not one of none, horizontal, vertical")
    if flip != "none":
        geometry.append(RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical"))
    return geometry


def _check_crop(kind: str, size: Sequence[float]) -> None:
    """Refuse pixels where shares are meant, and shares where pixels are."""
    if kind.startswith("relative") and max(size) > 1:
        raise ValueError(
            f"INPUT.CROP.SIZE is {list(size)}, and INPUT.CROP.TYPE {kind} takes shares above 0 and "
            "up to 1"
        )
    if kind.startswith("absolute") and any(side < 1 or side != int(side) for side in size):
        raise ValueError(
            f"INPUT.CROP.SIZE is {list(size)}, and INPUT.CROP.TYPE {kind} takes whole pixels, at "
            "least 1"
        )


def _resizing(cfg: CfgNode) -> Augmentation:
    size, scales = list(cfg.INPUT.SCALE_TRAIN.SIZE), list(cfg.INPUT.SCALE_TRAIN.RANGE)
    if not size:
        return ResizeShortestEdge(
            cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
        )
    if len(size) != 2 or min(size) < 1:
        raise ValueError(
            f"INPUT.SCALE_TRAIN.SIZE is {size}; give height and width in pixels, or [] to resize "
            "by MIN_SIZE_TRAIN"
        )
    if len(scales) != 2 or not 0 < scales[0] <= scales[1]:
        raise ValueError(
            f"INPUT.SCALE_TRAIN.RANGE is {scales}; give two factors above 0, the smaller one first"
        )
    return ResizeScale(*scales, *size)
