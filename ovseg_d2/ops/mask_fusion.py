"""From masks with classes to classes of pixels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["fuse_masks", "fused_bands"]

# Scores held at once: 64 MiB of float32.
_MAX_ELEMENTS = 2**24


def fuse_masks(class_probs: Tensor, mask_probs: Tensor) -> Tensor:
    """Score each class at each pixel: the sum over masks of p(class of mask) m(mask at pixel).

    Paper: [maskformer] Sec. 3.4, semantic inference. Scores are not divided by anything, and a
    resized sum is the sum of resized masks.

    Args:
        class_probs: (Q, K) floating, of each mask; without "no object".
        mask_probs: (Q, H, W) in [0, 1].

    Returns:
        (K, H, W) of the masks' dtype; zeros where there is no mask at all.

    Raises:
        ValueError: if shapes do not fit.
    """
    if class_probs.dim() != 2 or mask_probs.dim() != 3 or len(class_probs) != len(mask_probs):
        raise ValueError(
            f"class_probs {tuple(class_probs.shape)} and mask_probs {tuple(mask_probs.shape)} must "
            "be (Q, K) and (Q, H, W): give each mask the probabilities of its classes"
        )
    return torch.einsum("qk,qhw->khw", class_probs.to(mask_probs), mask_probs)


def fused_bands(
    class_probs: Tensor, mask_probs: Tensor, *, max_elements: int = _MAX_ELEMENTS
) -> Iterator[Tensor]:
    """Go through `fuse_masks` band by band, so that all classes at all pixels never exist.

    Args:
        class_probs: as for `fuse_masks`.
        mask_probs: likewise.
        max_elements: most scores of a band; at least one row is.

    Yields:
        Scores (K, rows, W), from the top.

    Raises:
        ValueError: as `fuse_masks`.
    """
    band = max(1, max_elements // max(class_probs.shape[-1] * mask_probs.shape[-1], 1))
    for rows in mask_probs.split(band, dim=-2):
        yield fuse_masks(class_probs, rows)
