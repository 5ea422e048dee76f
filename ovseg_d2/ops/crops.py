"""Masks cut out of their image: binary masks, boxes, the background filled, one size for all.

Boxes are (x0, y0, x1, y1) in pixels; the right and bottom edges are the first pixels outside.
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
    """How a mask is cut out of its image.

    Source: the defaults are those of [ovseg]'s largest model; the paper's comparison with crops
    that keep their background is ``fill="none"``.

    Attributes:
        threshold: a pixel of a soft mask is inside where its value is greater.
        expand_ratio: by what the tight box is scaled about its centre.
        fill: what pixels outside the mask become: the mean pixel that a tower was trained with,
            black, or what they were.
        matting: whether pixels are blended with the fill by the soft mask, instead of filled
            outside the binary one. A box is that of the binary mask anyway.
    """

    threshold: float = 0.4
    expand_ratio: float = 1.0
    fill: MaskFill = "mean"
    matting: bool = False

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold={self.threshold}; give a number from 0 to below 1")
        if not self.expand_ratio >= 1:
            raise ValueError(
                f"expand_ratio={self.expand_ratio}; give 1 for the tight box, or a larger factor"
            )
        if self.fill not in get_args(MaskFill):
            raise ValueError(f"fill={self.fill!r}; choose one of {get_args(MaskFill)}")


def binarize_masks(masks: Tensor, threshold: float) -> Tensor:
    """Soft masks as (Q, H, W) bool, inside where greater than ``threshold``; bool ones as are."""
    return masks if masks.dtype == torch.bool else masks > threshold


def mask_boxes(masks: Tensor) -> Tensor:
    """Find the tight box of each mask.

    Args:
        masks: (Q, H, W) bool.

    Returns:
        (Q, 4) int64 boxes; zeros where a mask is empty.

    Raises:
        ValueError: masks of another shape or type.
    """
    if masks.dim() != 3 or masks.dtype != torch.bool:
        raise ValueError(
            f"masks have shape {tuple(masks.shape)} and dtype {masks.dtype}; give (Q, H, W) bool, "
            "from binarize_masks"
        )
    # One at a time there would be four waits for the device a mask.
    x0, x1 = _extent(masks.any(dim=1))
    y0, y1 = _extent(masks.any(dim=2))
    return torch.stack([x0, y0, x1, y1], dim=1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First index that is set in each row of (Q, L) bool, and one past the last; 0 and 0."""
    length = occupied.shape[1]
    places = torch.arange(length, device=occupied.device)
    first = torch.where(occupied, places, length).amin(dim=1)
    past = torch.where(occupied, places + 1, 0).amax(dim=1)
    return torch.minimum(first, past), past


def expand_boxes(boxes: Tensor, ratio: float, size: Size) -> Tensor:
    """Scale boxes about their centres, cut to whole pixels and to the image.

    Source: the official code of [ovseg], which truncates towards zero before it cuts.

    Args:
        boxes: (Q, 4) int64.
        ratio: factor of both sides, at least 1.
        size: (h, w) of the image.

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
    """Put a colour where a mask is not.

    Args:
        crop: (3, h, w) floating.
        mask: (h, w) bool; or weights of the crop in [0, 1], the rest being the colour's.
        fill: (3,) colour in the crop's units; None leaves the crop as it is.

    Returns:
        (3, h, w) of the crop's dtype.

    Raises:
        ValueError: a mask of another size than its crop.
    """
    if crop.shape[-2:] != mask.shape:
        raise ValueError(
            f"a mask of {tuple(mask.shape)} pixels for a picture of {tuple(crop.shape[-2:])}; give "
            "masks of the size of their image"
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
    """Cut the boxes of masks out of an image, with the background filled.

    Paper: [ovseg] Sec. 3.1: the tight box of all foreground pixels, background masked out.

    Args:
        image: (3, H, W) floating, in any units.
        masks: (Q, H, W), see `fill_background`.
        boxes: (Q, 4) int64 inside the image, none of them empty.
        fill: see `fill_background`.

    Returns:
        Q crops (3, h, w), and their masks (h, w) as they were given.

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
    """Bring crops to one size, whatever their aspect ratio.

    Source: the official code of [ovseg]: crops bicubically, without antialiasing and without
    cutting off what overshoots; masks to the nearest pixel.

    Args:
        crops: Q of (3, h, w) floating, at least one.
        masks: Q of (h, w) bool or floating.
        size: (h, w) that all of them get.

    Returns:
        (Q, 3, h, w) of the crops' dtype, and (Q, h, w) of the masks' dtype.
    """
    resized = [
        F.interpolate(crop[None], size=size, mode="bicubic", align_corners=False) for crop in crops
    ]
    # Not of booleans: not every device resizes those.
    resized_masks = [
        F.interpolate(mask[None, None].float(), size=size, mode="nearest")[0].to(mask.dtype)
        for mask in masks
    ]
    return torch.cat(resized), torch.cat(resized_masks)
