"""Reduce masks of pixels to masks of patches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["patch_masks"]


def patch_masks(masks: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return which patches hold foreground.

    Paper: [ovseg] Sec. 3.3: a patch is masked only if all of its pixels are, because the pixels of
    a boundary are informative.

    Args:
        masks: (B, H, W) bool; every value of a soft mask above 0 is foreground, as in the release.
        patch_size: (h, w) in pixels. Masks are padded with background at the bottom and right to
            whole patches, as towers pad images with zeros.

    Returns:
        (B, h, w) bool, true for a patch that is kept.

    Raises:
        ValueError: masks of another shape.
    """
    if masks.dim() != 3:
        raise ValueError(f"masks have shape {tuple(masks.shape)}; give (B, H, W)")
    patch_h, patch_w = patch_size
    pixels = (masks > 0) if masks.dtype != torch.bool else masks
    height, width = pixels.shape[-2:]
    pixels = F.pad(pixels, (0, -width % patch_w, 0, -height % patch_h))
    return pixels.unflatten(2, (-1, patch_w)).unflatten(1, (-1, patch_h)).any(dim=-1).any(dim=2)
