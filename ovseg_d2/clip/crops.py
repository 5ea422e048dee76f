"""Preparation of crops for a tower."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ovseg_d2.ops import MaskFill, fill_background, resize_regions

from .tower import CLIPTower


def fill_color(tower: CLIPTower, fill: MaskFill) -> Tensor | None:
    """Background colour of normalised crops: (3,), or None to keep the background."""
    if fill == "none":
        return None
    if fill == "mean":
        return torch.zeros(3, device=tower.device)
    black = torch.zeros(3, 1, 1, device=tower.device)
    return tower.normalize(black)[:, 0, 0]


def prepare_crops(
    tower: CLIPTower,
    crops: Sequence[Tensor],
    masks: Sequence[Tensor],
    size: tuple[int, int],
    fill: MaskFill = "mean",
) -> tuple[Tensor, Tensor]:
    """Normalise crops, fill their background and bring them to one size.

    Args:
        tower: its pixel statistics and device are used.
        crops: Q crops (3, h, w), RGB in 0..255, Q at least 1.
        masks: Q masks (h, w), bool or weights in [0, 1].
        size: (h, w) of the result in pixels.
        fill: of the background, see `ops.CropOptions`.

    Returns:
        (Q, 3, h, w) normalised, and (Q, h, w) masks of the given dtype.

    Raises:
        ValueError: number or sizes of masks and crops differ.
    """
    if len(crops) != len(masks):
        raise ValueError(f"{len(masks)} masks for {len(crops)} crops; give one for each crop")
    color = fill_color(tower, fill)
    masks = [mask.to(tower.device) for mask in masks]
    filled = [
        fill_background(tower.normalize(crop.to(tower.device)), mask, color)
        for crop, mask in zip(crops, masks, strict=True)
    ]
    return resize_regions(filled, masks, size)
