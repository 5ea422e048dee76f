"""Pixel-adaptive refinement (PAMR): scores spread between neighbouring pixels of similar colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["PixelRefinement", "refine_pixels"]

# Scores refined at once: 64 MiB of float32.
_MAX_ELEMENTS = 2**24
# The release's guard against division by zero, and its temperature, in standard deviations.
_EPS, _TEMPERATURE = 1e-8, 0.1


@dataclass(frozen=True)
class PixelRefinement:
    """Options of `refine_pixels`.

    Attributes:
        steps: times that scores spread, 10 in [naclip].
        dilations: distances in pixels to the eight neighbours, once each, (8, 16) in [naclip].

    Raises:
        ValueError: no step, or no dilation, or one below 1.
    """

    steps: int = 10
    dilations: tuple[int, ...] = (8, 16)

    def __post_init__(self) -> None:
        """Check both."""
        if self.steps < 1 or not self.dilations or min(self.dilations) < 1:
            raise ValueError(
                f"{self} spreads nothing; give at least 1 step and dilations of at least 1 pixel"
            )


def refine_pixels(scores: Tensor, image: Tensor, options: PixelRefinement) -> Tensor:
    """Replace the scores of a pixel by the mean of its neighbours', weighted by their colours.

    Paper: [pamr] Sec. 3.4. The weight of neighbour j of pixel i is the softmax over all neighbours
    of the mean over channels of -|x_i - x_j| / (0.1 s_i), where s_i is the standard deviation of
    the neighbours and the pixel (once for each dilation). Pixels beyond the border are those on it.

    Args:
        scores: (K, H, W) floating, of any kind.
        image: (C, H, W) floating; a factor or an offset of a channel changes nothing.
        options: steps and dilations.

    Returns:
        (K, H, W), float32 (float64 for float64 scores).

    Raises:
        ValueError: scores and image of another shape or different sizes.
    """
    if scores.dim() != 3 or image.dim() != 3 or scores.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"scores have shape {tuple(scores.shape)} and image {tuple(image.shape)}; give "
            "(K, H, W) and (C, H, W) of one size"
        )
    scores = at_least_float32(scores)
    weights = _weights(image.to(scores), options.dilations)
    at_once = max(1, _MAX_ELEMENTS // (scores.shape[1] * scores.shape[2]))
    parts = []
    for part in scores.split(at_once):
        for _ in range(options.steps):
            total = torch.zeros_like(part)
            neighbours = _neighbours(part, options.dilations)
            for weight, neighbour in zip(weights, neighbours, strict=True):
                total.addcmul_(neighbour, weight)
            part = total
        parts.append(part)
    return torch.cat(parts)


def _weights(image: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """Weights (P, H, W) of the neighbours, in the order of `_neighbours`, which sum to 1."""
    total: Tensor | None = None
    for channel in image.split(1):
        neighbours = torch.cat(_neighbours(channel, dilations))
        known = torch.cat([neighbours, channel.expand(len(dilations), -1, -1)])
        apart = (channel - neighbours).abs() / (_EPS + _TEMPERATURE * known.std(dim=0))
        total = apart if total is None else total + apart
    assert total is not None
    return (-total / len(image)).softmax(dim=0)


def _neighbours(values: Tensor, dilations: tuple[int, ...]) -> list[Tensor]:
    """(K, H, W) -> views of the values of each pixel's neighbours, eight for each dilation."""
    most = max(dilations)
    height, width = values.shape[1:]
    padded = F.pad(values, (most,) * 4, mode="replicate")
    return [
        padded[:, most + dy : most + dy + height, most + dx : most + dx + width]
        for dilation in dilations
        for dy in (-dilation, 0, dilation)
        for dx in (-dilation, 0, dilation)
        if dy or dx
    ]
