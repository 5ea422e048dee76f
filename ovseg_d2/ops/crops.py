"""Crop masks out of their image: binary masks, boxes, filled backgrounds, one common size.

Boxes are (x0, y0, x1, y1) in pixels; x1 and y1 are the first column and row outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "CropOptions",
    "MaskFill",
    "binarize_masks",
    "cut_regions",
    "expand_boxes",
    "fill_background",
    "mask_boxes",
    "resize_regions",
]

Size = tuple[int, int]
MaskFill = Literal["mean", "zero", "none"]


@dataclass(frozen=True)
class CropOptions:
    """Options for the crop of a mask.

    Source: the defaults are those of [ovseg]'s largest model; the paper's comparison with crops
    that keep their background is ``fill="none"``.

    Attributes:
        threshold: the pixels of a soft mask above it are inside.
        expand_ratio: factor of the tight box about its centre.
        fill: pixels outside the mask become the tower's mean pixel ("mean") or black ("zero"), or
            stay ("none").
        matting: blend pixels with the fill by the soft mask, instead of filling outside the binary
            mask. The box is that of the binary mask in both cases.
    """

    threshold: float = 0.4
    expand_ratio: float = 1.0
    fill: MaskFill = "mean"
    matting: bool = False

    def __post_init__(self) -> None:
        """Check the ranges of all options."""
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold={self.threshold}; give a number from 0 to below 1")
        if not self.expand_ratio >= 1:
            raise ValueError(
                f"expand_ratio={self.expand_ratio}; give 1 for the tight box, or a larger factor"
            )
        if self.fill not in get_args(MaskFill):
            raise ValueError(f"fill={self.fill!r}; choose one of {get_args(MaskFill)}")


def binarize_masks(masks: Tensor, threshold: float) -> Tensor:
    """Return soft masks (Q, H, W) > ``threshold`` as bool; bool masks do not change."""
    return masks if masks.dtype == torch.bool else masks > threshold


def mask_boxes(masks: Tensor) -> Tensor:
    """Compute the tight box of every mask.

    Args:
        masks: (Q, H, W) bool.

    Returns:
        (Q, 4) int64 boxes; zeros for an empty mask.

    Raises:
        ValueError: masks of another shape or type.
    """
    if masks.dim() != 3 or masks.dtype != torch.bool:
        raise ValueError(
            f"masks have shape {tuple(masks.shape)} and dtype {masks.dtype}; give (Q, H, W) bool, "
            "from binarize_masks"
        )
    # All masks at once, because a loop would wait for the device four times per mask.
    x0, x1 = _extent(masks.any(dim=1))
    y0, y1 = _extent(masks.any(dim=2))
    return torch.stack([x0, y0, x1, y1], dim=1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """Return first set index and last set index + 1 of every row of (Q, L) bool, else 0 and 0."""
    length = occupied.shape[1]
    places = torch.arange(length, device=occupied.device)
    first = torch.where(occupied, places, length).amin(dim=1)
    past = torch.where(occupied, places + 1, 0).amax(dim=1)
    return torch.minimum(first, past), past


def expand_boxes(boxes: Tensor, ratio: float, size: Size) -> Tensor:
    """Scale boxes about their centres, truncated to whole pixels and clipped to the image.

    Source: the official code of [ovseg], which truncates towards zero before it clips.

    Args:
        boxes: (Q, 4) int64.
        ratio: factor of both sides, at least 1.
        size: (h, w) of the image in pixels.

    Returns:
        (Q, 4) int64.
    """
    corners = boxes.double()
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    halves = (corners[:, 2:] - corners[:, :2]) / 2 * ratio
    scaled = torch.cat([centres - halves, centres + halves], dim=1).trunc().long()
    height, width = size
    return torch.minimum(scaled.clamp(min=0), scaled.new_tensor([width, height, width, height]))


def fill_background(crop: Tensor, mask: Tensor, fill: Tensor | None) -> Tensor:
    """Fill the pixels of a crop outside its mask with a colour.

    Args:
        crop: (3, h, w) floating.
        mask: (h, w) bool; or weights of the crop in [0, 1], with the colour at 1 - weight.
        fill: (3,) colour in the crop's units; None returns the crop.

    Returns:
        (3, h, w) of the crop's dtype.

    Raises:
        ValueError: a mask of another size than its crop.
    """
    if crop.shape[-2:] != mask.shape:
        raise ValueError(
            f"the mask has {tuple(mask.shape)} pixels and the crop {tuple(crop.shape[-2:])}; give "
            "a mask of the crop's size"
        )
    if fill is None:
        return crop
    colour = fill.to(crop).view(3, 1, 1)
    if mask.dtype == torch.bool:
        return torch.where(mask, crop, colour)
    weights = mask.to(crop)
    return crop * weights + colour * (1 - weights)


def cut_regions(
    image: Tensor, masks: Tensor, boxes: Tensor, fill: Tensor | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Crop the boxes of masks out of an image and fill their background.

    Paper: [ovseg] Sec. 3.1: the tight box of all foreground pixels, background masked out.

    Args:
        image: (3, H, W) floating, in any units.
        masks: (Q, H, W), bool or weights; see `fill_background`.
        boxes: (Q, 4) int64 inside the image, none of them empty.
        fill: (3,) or None; see `fill_background`.

    Returns:
        Q crops (3, h, w), and the parts (h, w) of the masks inside the boxes.

    Raises:
        ValueError: masks of another size than the image, or of another number than the boxes.
    """
    if masks.dim() != 3 or masks.shape[-2:] != image.shape[-2:] or len(masks) != len(boxes):
        raise ValueError(
            f"masks {tuple(masks.shape)} with {len(boxes)} boxes for an image of "
            f"{tuple(image.shape[-2:])} pixels; give (Q, H, W) of the image's size, and Q boxes"
        )
    crops, cut_masks = [], []
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.tolist(), strict=True):
        cut_masks.append(mask[y0:y1, x0:x1])
        crops.append(fill_background(image[:, y0:y1, x0:x1], cut_masks[-1], fill))
    return crops, cut_masks


def resize_regions(
    crops: Sequence[Tensor], masks: Sequence[Tensor], size: Size
) -> tuple[Tensor, Tensor]:
    """Resize crops to one size; aspect ratios change.

    Source: the official code of [ovseg]: crops bicubically, without antialiasing and without
    clipping of overshoots; masks to the nearest pixel.

    Args:
        crops: Q of (3, h, w) floating, at least one.
        masks: Q of (h, w) bool or floating.
        size: (h, w) of the result in pixels.

    Returns:
        (Q, 3, h, w) of the crops' dtype, and (Q, h, w) of the masks' dtype.
    """
    resized = [
        F.interpolate(crop[None], size=size, mode="bicubic", align_corners=False) for crop in crops
    ]
    # Not every device resizes booleans.
    resized_masks = [
        F.interpolate(mask[None, None].float(), size=size, mode="nearest")[0].to(mask.dtype)
        for mask in masks
    ]
    return torch.cat(resized), torch.cat(resized_masks)
