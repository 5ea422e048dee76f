"""Fuse classified masks into class scores of pixels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ovseg_d2.ops.dense import MAX_ELEMENTS

__all__ = ["fuse_masks", "fused_bands"]


def fuse_masks(class_probs: Tensor, mask_probs: Tensor) -> Tensor:
    """Score every class at every pixel: the sum over masks of p(class of mask) m(mask at pixel).

    Paper: [maskformer] Sec. 3.4, semantic inference. Scores are not normalised; the sum is linear,
    so masks may be resized before it or scores after it.

    Args:
        class_probs: (Q, K) floating, without "no object".
        mask_probs: (Q, H, W) in [0, 1].

    Returns:
        (K, H, W) of the masks' dtype; zeros for Q = 0.

    Raises:
        ValueError: other shapes.
    """
    if class_probs.dim() != 2 or mask_probs.dim() != 3 or len(class_probs) != len(mask_probs):
        raise ValueError(
            f"class_probs {tuple(class_probs.shape)} and mask_probs {tuple(mask_probs.shape)} must "
            "be (Q, K) and (Q, H, W): give each mask the probabilities of its classes"
        )
    return torch.einsum("qk,qhw->khw", class_probs.to(mask_probs), mask_probs)


def fused_bands(
    class_probs: Tensor, mask_probs: Tensor, *, max_elements: int = MAX_ELEMENTS
) -> Iterator[Tensor]:
    """Run `fuse_masks` in bands of rows, which bounds its memory.

    Other arguments and errors are those of `fuse_masks`.

    Args:
        class_probs: (Q, K).
        mask_probs: (Q, H, W).
        max_elements: most scores of a band; a band has at least one row.

    Yields:
        Scores (K, rows, W), from the top.
    """
    band = max(1, max_elements // max(class_probs.shape[-1] * mask_probs.shape[-1], 1))
    for rows in mask_probs.split(band, dim=-2):
        yield fuse_masks(class_probs, rows)
