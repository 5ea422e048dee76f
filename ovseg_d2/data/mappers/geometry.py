"""Resizing, cropping and flipping of training images and their masks."""

from collections.abc import Sequence

import numpy as np

from ...d2.config import CfgNode
from ...d2.data.transforms import (
    Augmentation,
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    RandomCrop,
    RandomCrop_CategoryAreaConstraint,
    RandomFlip,
    ResizeScale,
    ResizeShortestEdge,
    ResizeTransform,
    Transform,
    VFlipTransform,
)
from ...masks import nearest_pixels

__all__ = ["check_area", "flipped_axis", "geometry_from_config", "transform_masks"]

# INPUT.RANDOM_FLIP -> axis of (H, W) that is flipped.
_FLIPPED_AXIS = {"none": None, "horizontal": 1, "vertical": 0}


def geometry_from_config(cfg: CfgNode, *, balance: bool = False) -> list[Augmentation]:
    """Build detectron2's augmentations that resize, crop and flip, in this order.

    Args:
        cfg: reads ``INPUT``'s training sizes, or ``SCALE_TRAIN`` if that has a size, ``CROP`` and
            ``RANDOM_FLIP``.
        balance: crops are drawn from image and labels, so that no class covers more than
            ``SINGLE_CATEGORY_MAX_AREA`` of a crop.

    Raises:
        ValueError: an unknown flip, a wrong size or range, or a crop size that does not fit the
            crop type.
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
    axis = flipped_axis(cfg.INPUT.RANDOM_FLIP)
    if axis is not None:
        geometry.append(RandomFlip(horizontal=axis == 1, vertical=axis == 0))
    return geometry


def flipped_axis(flip: str) -> int | None:
    """Axis of (H, W) that a value of INPUT.RANDOM_FLIP flips, or None.

    Raises:
        ValueError: an unknown value.
    """
    if flip not in _FLIPPED_AXIS:
        raise ValueError(
            f"flip={flip!r}; set INPUT.RANDOM_FLIP to one of {', '.join(_FLIPPED_AXIS)}"
        )
    return _FLIPPED_AXIS[flip]


def check_area(key: str, area: Sequence[float]) -> tuple[float, float]:
    """Check that a config key holds two rising shares of an area and return them.

    Raises:
        ValueError: other values.
    """
    if len(area) != 2 or not 0 < area[0] <= area[1] <= 1:
        raise ValueError(
            f"the area is {list(area)}; set {key} to two shares above 0 and up to 1, the smaller "
            "one first"
        )
    return float(area[0]), float(area[1])


def transform_masks(masks: np.ndarray, transforms: Sequence[Transform]) -> np.ndarray:
    """Resize, crop and flip masks or label maps by the nearest pixel.

    Args:
        masks: (Q, H, W) of any type.
        transforms: detectron2's transforms, from an augmentation.

    Returns:
        (Q, h, w) of the same type, contiguous, with its own memory.

    Raises:
        TypeError: a transform of another kind.
    """
    rows, columns = np.arange(masks.shape[1]), np.arange(masks.shape[2])
    for transform in transforms:
        if isinstance(transform, ResizeTransform):
            rows = rows[nearest_pixels(len(rows), transform.new_h)]
            columns = columns[nearest_pixels(len(columns), transform.new_w)]
        elif isinstance(transform, CropTransform):
            rows = rows[transform.y0 : transform.y0 + transform.h]
            columns = columns[transform.x0 : transform.x0 + transform.w]
        elif isinstance(transform, HFlipTransform):
            columns = columns[::-1]
        elif isinstance(transform, VFlipTransform):
            rows = rows[::-1]
        elif not isinstance(transform, NoOpTransform):
            raise TypeError(
                f"masks do not go through {type(transform).__name__}; resize, crop or flip them"
            )
    return np.ascontiguousarray(masks[:, rows[:, None], columns])


def _check_crop(kind: str, size: Sequence[float]) -> None:
    """Refuse pixels for relative crops, and shares for absolute crops."""
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
