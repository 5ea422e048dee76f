"""Class colours that are far apart and depend on the class index only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ovseg_d2.vocab import Vocabulary

__all__ = ["class_colors"]

# Steps per RGB channel: 16^3 = 4096 candidate colours.
_STEPS = 16
# CIE lightness, 0 black to 100 white. Darker and lighter colours are hard to see.
_LIGHTNESS = (30.0, 90.0)
# Colours computed at once, so that vocabularies of ordinary size share one computation.
_CHUNK = 256


def class_colors(names: Sequence[str] | Vocabulary) -> NDArray[np.uint8]:
    """Return colours for the classes of a vocabulary.

    Every colour is the one farthest, in CIELAB, from all before it, so colour i depends on i only,
    and the first colours differ most. After about two thousand the colours repeat.

    Args:
        names: the K class names, or a vocabulary; only K matters.

    Returns:
        (K, 3) uint8 RGB.
    """
    count = len(names)
    palette = _palette(-(-max(count, 1) // _CHUNK) * _CHUNK)
    return palette[np.arange(count) % len(palette)]


@lru_cache(maxsize=4)
def _palette(count: int) -> NDArray[np.uint8]:
    """Return the first ``count`` colours, or all of them, by farthest-point sampling."""
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    candidates = candidates.reshape(-1, 3)
    lab = _to_lab(candidates)
    visible = (lab[:, 0] >= _LIGHTNESS[0]) & (lab[:, 0] <= _LIGHTNESS[1])
    candidates, lab = candidates[visible], lab[visible]

    # The first colour is the most saturated candidate; it determines all others.
    chosen = [int(np.argmax(np.hypot(lab[:, 1], lab[:, 2])))]
    distances = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < min(count, len(candidates)):
        chosen.append(int(np.argmax(distances)))
        np.minimum(distances, np.linalg.norm(lab - lab[chosen[-1]], axis=1), out=distances)
    palette = candidates[chosen]
    palette.setflags(write=False)
    return palette


def _to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Convert (N, 3) sRGB to CIELAB under D65 (IEC 61966-2-1, CIE 15)."""
    value = rgb / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    # Relative to the white point, which is the sum of the rows.
    ratio = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
