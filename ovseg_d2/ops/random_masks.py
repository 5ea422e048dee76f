"""Draw the patches and words that are hidden from a network, which predicts them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_mask_ratio", "draw_patch_masks", "draw_word_masks", "unmasked_ids"]


def draw_patch_masks(
    num_images: int,
    num_patches: int,
    ratio: float,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw the hidden patches of images, the same number in every image.

    Paper: [masked_distill_clip], random masking of 75 % of the patches, as in [mae] Sec. 3.

    Args:
        num_images: B.
        num_patches: N per image, at least 2.
        ratio: share of hidden patches, in (0, 1); at least one patch is hidden and one is not.
        device: of the result and of the random generator.

    Returns:
        (B, N) bool, true for a hidden patch.

    Raises:
        ValueError: a ratio outside (0, 1), or fewer than two patches.
    """
    check_mask_ratio(ratio)
    if num_patches < 2:
        raise ValueError(
            f"num_patches is {num_patches}: one patch must be hidden and one not; give larger "
            "images or smaller patches"
        )
    hidden = min(max(round(ratio * num_patches), 1), num_patches - 1)
    order = torch.rand(num_images, num_patches, device=device).argsort(dim=1)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :hidden], True)


def unmasked_ids(masks: Tensor) -> Tensor:
    """Return the n patches per image that are not hidden: (B, N) bool -> (B, n) ascending."""
    return (~masks).nonzero()[:, 1].view(len(masks), -1)


def draw_word_masks(eligible: Tensor, ratio: float) -> Tensor:
    """Draw the hidden words of texts.

    Paper: [masked_distill_clip], 20 % of the tokens, as in [bert] Sec. 3.1.
    Departs: a text has the nearest whole number of hidden words, at least one; [bert] draws every
    word independently, which would hide no word of many short captions.

    Args:
        eligible: (N, L) bool, the tokens that are words: not start, end or padding.
        ratio: share of hidden words, in (0, 1).

    Returns:
        (N, L) bool, all false for a text without words.

    Raises:
        ValueError: a ratio outside (0, 1).
    """
    check_mask_ratio(ratio)
    counts = eligible.sum(dim=1)
    num_hidden = (ratio * counts).round().long().clamp(min=1).minimum(counts)
    scores = torch.rand(eligible.shape, device=eligible.device)
    ranks = scores.masked_fill(~eligible, torch.inf).argsort(dim=1).argsort(dim=1)
    return ranks < num_hidden[:, None]


def check_mask_ratio(ratio: float) -> None:
    """Raise a ValueError for a share of hidden patches or words outside (0, 1)."""
    if not 0 < ratio < 1:
        raise ValueError(f"the mask ratio is {ratio}; give a share between 0 and 1, such as 0.75")
