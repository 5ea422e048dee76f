"""From crops as they were cut to what a tower reads."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ovseg_d2.ops import MaskFill, fill_background, resize_regions

from .tower import CLIPTower


def fill_color(tower: CLIPTower, fill: MaskFill) -> Tensor | None:
    """The colour of the background of normalised crops: (3,), or None where it is left in."""
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
        tower: whose pixel statistics and device they are brought to.
        crops: Q of (3, h, w), RGB in 0..255, at least one.
        masks: Q of (h, w), bool or weights of the crop in [0, 1].
        size: (h, w) in pixels of all of them.
        fill: what the background becomes, see `ops.CropOptions`.

    Returns:
        (Q, 3, h, w) normalised, and (Q, h, w) masks of the type that was given.

    Raises:
        ValueError: other numbers or sizes of masks than of crops.
    """
    if len(crops) != len(masks):
        raise ValueError(f"{len(masks)} masks for {len(crops)} crops; give one for each")
    color = fill_color(tower, fill)
    masks = [mask.to(tower.device) for mask in masks]
    filled = [
        fill_background(tower.normalize(crop.to(tower.device)), mask, color)
        for crop, mask in zip(crops, masks, strict=True)
    ]
    return resize_regions(filled, masks, size)
