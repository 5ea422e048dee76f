"""Joint bilateral upsampling: scores of cells go to near pixels of their colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["GuidedUpsampling", "upsample_by_colour"]

# Numbers in memory at once for a band: 64 MiB of float32.
_MAX_ELEMENTS = 2**24


@dataclass(frozen=True)
class GuidedUpsampling:
    """Options of `upsample_by_colour`.

    Attributes:
        radius: cells that a pixel reaches in each direction from the cell that it lies in.
        space_std: standard deviation of the distance between pixel and cell, in cells.
        colour_std: standard deviation of the distance between their colours, in units of the image.

    Raises:
        ValueError: a radius below 1, or a standard deviation that is not positive.
    """

    radius: int = 2
    space_std: float = 1.0
    colour_std: float = 30.0

    def __post_init__(self) -> None:
        """Check all three."""
        if self.radius < 1 or not self.space_std > 0 or not self.colour_std > 0:
            raise ValueError(
                f"{self} reaches no cell; give a radius of at least 1 cell and standard deviations "
                "above 0"
            )


def upsample_by_colour(cells: Tensor, image: Tensor, options: GuidedUpsampling) -> Iterator[Tensor]:
    """Give each pixel the mean score of the cells around it, weighted by distance and colour.

    Paper: [jbu] Eq. (3), with Gaussians for both weights: the score of pixel p is
    sum_q S_q exp(-|p - q|^2 / 2 s^2 - |I_p - I_q|^2 / 2 c^2), divided by the sum of the weights.
    Departs: I_q is the mean colour of the cell and not that of the pixel at its centre, because a
    patch's score stands for all of its pixels.

    Args:
        cells: (K, h, w) floating scores of any kind, of a grid that covers the image exactly.
        image: (C, H, W) floating colours.
        options: reach and standard deviations.

    Yields:
        (K, rows, W) scores from the top band down, float32 (float64 for float64 scores).

    Raises:
        ValueError: cells or image of another shape, or more cells than pixels along a side.
    """
    if (
        cells.dim() != 3
        or image.dim() != 3
        or 0 in cells.shape
        or cells.shape[1] > image.shape[1]
        or cells.shape[2] > image.shape[2]
    ):
        raise ValueError(
            f"cells have shape {tuple(cells.shape)} and image {tuple(image.shape)}; give (K, h, w) "
            "and (C, H, W), with at most one cell for each pixel of a side"
        )
    cells = at_least_float32(cells)
    image = image.to(cells)
    num_classes, grid_h, grid_w = cells.shape
    height, width = image.shape[1:]
    cell_scores = cells.flatten(1).T.contiguous()  # (h*w, K)
    cell_colours = F.adaptive_avg_pool2d(image[None], (grid_h, grid_w))[0].flatten(1)  # (C, h*w)
    rows, row_apart = _neighbours(height, grid_h, options, cells)  # (H, n)
    columns, column_apart = _neighbours(width, grid_w, options, cells)  # (W, n)
    # Indices take eight bytes; beside them are the weights and two terms of the colours.
    needed = width * (5 * rows.shape[1] * columns.shape[1] + num_classes)
    at_once = max(1, _MAX_ELEMENTS // needed)
    for start in range(0, height, at_once):
        band = slice(start, start + at_once)
        ids = rows[band, None, :, None] * grid_w + columns[None, :, None, :]
        apart = row_apart[band, None, :, None] + column_apart[None, :, None, :]
        ids, apart = ids.flatten(0, 1).flatten(1), apart.flatten(0, 1).flatten(1)  # (P, n*n)
        for values, colours in zip(image[:, band].flatten(1), cell_colours, strict=True):
            apart = apart + ((colours[ids] - values[:, None]) / options.colour_std).square()
        weights = (-apart / 2).softmax(dim=1)
        scores = F.embedding_bag(ids, cell_scores, per_sample_weights=weights, mode="sum")  # (P, K)
        yield scores.T.unflatten(1, (-1, width))


def _neighbours(
    pixels: int, cells: int, options: GuidedUpsampling, like: Tensor
) -> tuple[Tensor, Tensor]:
    """The cells that each pixel of a side reaches, and their squared distances; both (pixels, n).

    Distances are in units of ``space_std``, and infinite for places beyond the border.
    """
    places = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels - 0.5
    reach = torch.arange(-options.radius, options.radius + 1)
    found = places.round().long()[:, None] + reach
    apart = ((places[:, None] - found) / options.space_std).square()
    apart = apart.masked_fill((found < 0) | (found >= cells), torch.inf)
    return found.clamp(0, cells - 1).to(like.device), apart.to(like)
