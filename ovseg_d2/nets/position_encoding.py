"""Encodings of positions in a map by sines and cosines."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["sine_positions"]

# Added to the length of an axis, as in the official code of [maskformer].
_EPS = 1e-6


def sine_positions(
    size: tuple[int, int],
    channels: int,
    *,
    temperature: float = 10000.0,
    device: torch.device | None = None,
) -> Tensor:
    """Encode every location of a map by waves of its row, then by waves of its column.

    Row y of h has the angle 2 pi (y + 1) / h at any resolution, so that the encoding depends on the
    place in the image. Half of the channels are for rows, half for columns; both alternate sines
    and cosines of that angle divided by rising powers of ``temperature``, from 0.

    Source: the official code of [maskformer], after the transformer of [detr].

    Args:
        size: (h, w) of the map.
        channels: C, a multiple of 4.
        temperature: the longest wavelength, in units of the shortest.
        device: of the result.

    Returns:
        (C, h, w) float32 in [-1, 1].

    Raises:
        ValueError: ``channels`` are not a multiple of 4.
    """
    if channels < 4 or channels % 4:
        raise ValueError(f"channels={channels}; give a multiple of 4, two waves for each axis")
    half = channels // 2
    rows, columns = (_waves(length, half, temperature, device) for length in size)
    height, width = size
    return torch.cat(
        [
            rows[:, :, None].expand(half, height, width),
            columns[:, None, :].expand(half, height, width),
        ]
    )


def _waves(length: int, channels: int, temperature: float, device: torch.device | None) -> Tensor:
    """Return sines and cosines in turn of every place on one axis, (channels, length)."""
    places = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    angles = places / (length + _EPS) * 2 * math.pi
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=device) / channels
    angles = angles / temperature ** exponents[:, None]  # (channels / 2, length)
    return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)
