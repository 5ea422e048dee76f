"""The pixels of a patch as a vector."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["patch_pixels"]

_EPS = 1e-6


def patch_pixels(images: Tensor, patch_size: tuple[int, int], *, unit_variance: bool) -> Tensor:
    """Return the pixels of every patch.

    Paper: [mae] Sec. 3, the reconstruction target.

    Args:
        images: (B, C, H, W) floating, padded with zeros at the bottom and right to whole patches,
            as by towers.
        patch_size: (h, w) in pixels.
        unit_variance: normalise every patch to mean 0 and variance 1, [mae]'s better target.

    Returns:
        (B, N, C*h*w), patches in reading order.
    """
    images = F.pad(
        images, (0, -images.shape[-1] % patch_size[1], 0, -images.shape[-2] % patch_size[0])
    )
    pixels = F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)
    if not unit_variance:
        return pixels
    variance, mean = torch.var_mean(pixels, dim=-1, keepdim=True)
    return (pixels - mean) / (variance + _EPS).sqrt()
