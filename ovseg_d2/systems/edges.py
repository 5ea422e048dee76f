"""Refine scores by the colours of the image, on the way from cells to pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower
from ovseg_d2.ops import GuidedUpsampling, PixelRefinement, refine_pixels, upsample_by_colour

from .pixel_scorer import need_score_memory

__all__ = ["refine_edges"]

Size = tuple[int, int]

# Rows of pixels refined by PAMR in a band.
_ROWS_AT_ONCE = 64


def refine_edges(
    bands_of: Callable[[Size], Iterator[Tensor]],
    image: Tensor,
    size: Size,
    *,
    guided: GuidedUpsampling | None,
    pixels: PixelRefinement | None,
    tower: CLIPTower,
    num_rows: int,
) -> Iterator[Tensor]:
    """Yield the scores of an image at a size, refined as the options say.

    Args:
        bands_of: size -> the bilinearly resized scores (R, rows, w) at that size, in bands.
        image: (3, H, W) RGB in 0..255.
        size: (h, w) of the result.
        guided: `upsample_by_colour` takes the scores at the centres of cells, a patch of the image
            large; None resizes them bilinearly.
        pixels: options of `refine_pixels`, on the result of the former; None leaves it out.
        tower: its patch and pixel statistics.
        num_rows: R.

    Raises:
        ImageTooLargeError: memory does not suffice for all scores, which ``pixels`` needs.
    """
    bands = bands_of(size) if guided is None else _guided(bands_of, image, size, guided, tower)
    if pixels is None:
        yield from bands
        return
    need_score_memory(image, size, num_rows)
    colours = _resized(tower.normalize(image.float()), size)
    scores = refine_pixels(torch.cat(list(bands), dim=1), colours, pixels)
    yield from scores.split(_ROWS_AT_ONCE, dim=1)


def _guided(
    bands_of: Callable[[Size], Iterator[Tensor]],
    image: Tensor,
    size: Size,
    guided: GuidedUpsampling,
    tower: CLIPTower,
) -> Iterator[Tensor]:
    height, width = (
        min(-(-side // patch), most)
        for side, patch, most in zip(image.shape[1:], tower.patch_size, size, strict=True)
    )
    cells = torch.cat(list(bands_of((height, width))), dim=1)
    return upsample_by_colour(cells, _resized(image.float(), size), guided)


def _resized(image: Tensor, size: Size) -> Tensor:
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
