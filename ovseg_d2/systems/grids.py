"""Scores of an image's windows on their grids.

Shape shorthand: n windows, B images, D joint embedding, K classes, R rows of text, h x w locations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Size = tuple[int, int]


@dataclass(frozen=True)
class Grids:
    """Scores of an image's n windows, and the boxes of the windows.

    Attributes:
        scores: (n, R, h, w) where ``has_words``, else (n, K, h, w).
        boxes: xyxy of the windows, in pixels; those of shifted passes reach beyond the image.
        size: (h, w) of the image.
        padded_size: (h, w) in pixels that a window's grid covers.
        has_words: whether a class has a row for each of its words.
    """

    scores: Tensor
    boxes: list[tuple[int, int, int, int]]
    size: Size
    padded_size: Size
    has_words: bool


def cosines(feats: Tensor, text_embeds: Tensor) -> Tensor:
    """(B, D, h, w) features and (K, D) texts -> (B, K, h, w)."""
    # Half precision would make the cosines of different classes equal.
    with torch.autocast(feats.device.type, enabled=False):
        embeds = F.normalize(feats.float(), dim=1)
        return torch.einsum("bdhw,kd->bkhw", embeds, text_embeds.to(embeds))


def put_together(values: Tensor) -> Tensor:
    """(n, C, h, w) of an image's windows -> (1, C, n*h, w), one grid of all its locations."""
    return values.transpose(0, 1).flatten(1, 2)[None]
