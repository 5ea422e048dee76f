"""Declaration of corruptions, and their use by name."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np

__all__ = ["CORRUPTIONS", "LEVELS", "corrupt", "corruption", "corruption_rng"]

LEVELS = 5
_SIDE = 224  # pixels of the images for which the paper's lengths are

Corruption = Callable[..., np.ndarray]
Strength = TypeVar("Strength")

_registered: dict[str, Corruption] = {}

# Name -> function of (image, level, rng, fixed_lengths=False), in the order of the paper's figure
# 1; spatter, of its appendix, at the end.
CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(_registered)


def corrupt(
    image: np.ndarray,
    name: str,
    level: int,
    rng: np.random.Generator,
    *,
    fixed_lengths: bool = False,
) -> np.ndarray:
    """Corrupt an image.

    Source: [corruptions] arXiv 1903.12261; the package lists the differences.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: one of `CORRUPTIONS`.
        level: 1 (mild) to 5 (severe); 0 leaves the image unchanged.
        rng: source of all randomness; see `corruption_rng`.
        fixed_lengths: whether lengths are the paper's pixels at any size, as in its release, and
            not in proportion to the shorter side.

    Returns:
        (H, W, 3) uint8 RGB, of its own memory.

    Raises:
        ValueError: unknown corruption or level, or another shape or dtype.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"corruption {name!r} is not one of {', '.join(CORRUPTIONS)}")
    return CORRUPTIONS[name](image, level, rng, fixed_lengths)


def corruption_rng(file_name: str, name: str, seed: int = 0) -> np.random.Generator:
    """Random numbers for a corruption of an image: the same in every run, at every level.

    They depend on the last part of the file's name only, so that a dataset may move.
    """
    text = f"{seed}/{name}/{os.path.basename(file_name)}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def corruption(
    strengths: Sequence[Strength],
) -> Callable[[Callable[..., np.ndarray]], Corruption]:
    """Register a function of (image, strength, rng) as a corruption with one strength a level.

    The function takes (H, W, 3) float32 in [0, 1] and may leave that range. If it has an argument
    ``scale``, it also gets the factor of its lengths, which are in pixels of 224 x 224 images. The
    registered and returned function takes (image, level, rng, fixed_lengths) and checks its
    arguments.
    """
    if len(strengths) != LEVELS:
        raise ValueError(f"{len(strengths)} strengths for {LEVELS} levels; give one each")

    def register(function: Callable[..., np.ndarray]) -> Corruption:
        has_lengths = "scale" in inspect.signature(function).parameters

        @functools.wraps(function)
        def corrupted(
            image: np.ndarray,
            level: int,
            rng: np.random.Generator,
            fixed_lengths: bool = False,
        ) -> np.ndarray:
            _check(image, level, function.__name__)
            if level == 0:
                return image.copy()
            pixels = image.astype(np.float32) / np.float32(255)
            scale = 1.0 if fixed_lengths else min(image.shape[:2]) / _SIDE
            lengths = (scale,) if has_lengths else ()
            out = function(pixels, strengths[level - 1], rng, *lengths)
            return np.rint(np.clip(out, 0, 1) * 255).astype(np.uint8)

        _registered[function.__name__] = corrupted
        return corrupted

    return register


def _check(image: np.ndarray, level: int, name: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"{name}: image has shape {image.shape} and dtype {image.dtype}; give (H, W, 3) uint8"
        )
    if isinstance(level, bool) or level not in range(LEVELS + 1):
        raise ValueError(
            f"{name}: level is {level!r}; give 1 to {LEVELS}, or 0 for none; there are "
            f"{', '.join(CORRUPTIONS)}"
        )
