"""Which patches and which words are hidden from a network that has to guess them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["draw_patch_masks", "draw_word_masks", "unmasked_ids"]


def draw_patch_masks(
    num_images: int,
    num_patches: int,
    ratio: float,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw the patches that are hidden, anew for each image and equally many of each.

    Paper: [masked_distill_clip], random masking of 75 % of the patches, as in [mae] Sec. 3.

    Args:
        num_images: B.
        num_patches: N of each image, at least 2.
        ratio: share that is hidden, in (0, 1); at least one patch is hidden and one is left.
        device: of the result; numbers come from its own generator.

    Returns:
        (B, N) bool, true where a patch is hidden.

    Raises:
        ValueError: a ratio outside (0, 1), or fewer than two patches.
    """
    check_mask_ratio(ratio)
    if num_patches < 2:
        raise ValueError(
            f"num_patches is {num_patches}: one patch must be hidden and one be left; give larger "
            "images or smaller patches"
        )
    hidden = min(max(round(ratio * num_patches), 1), num_patches - 1)
    order = torch.rand(num_images, num_patches, device=device).argsort(dim=1)
    return torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :hidden], True)


def unmasked_ids(masks: Tensor) -> Tensor:
    """Where the patches lie that are left: (B, N) bool, equally many hidden -> (B, n) ascending."""
    return (~masks).nonzero()[:, 1].view(len(masks), -1)


def draw_word_masks(eligible: Tensor, ratio: float) -> Tensor:
    """Draw the words of each text that have to be guessed.

    Paper: [masked_distill_clip], 20 % of the tokens, as in [bert] Sec. 3.1.
    Departs: of each text the nearest whole number of words, but at least one, where each word of
    [bert] is drawn on its own; most captions are so short that many would have none.

    Args:
        eligible: (N, L) bool, the tokens that are words: neither start, end nor padding.
        ratio: share of them that is drawn, in (0, 1).

    Returns:
        (N, L) bool; nothing of a text without words.

    Raises:
        ValueError: a ratio outside (0, 1).
    """
    check_mask_ratio(ratio)
    counts = eligible.sum(dim=1)
    wanted = (ratio * counts).round().long().clamp(min=1).minimum(counts)
    scores = torch.rand(eligible.shape, device=eligible.device)
    ranks = scores.masked_fill(~eligible, torch.inf).argsort(dim=1).argsort(dim=1)
    return ranks < wanted[:, None]


def check_mask_ratio(ratio: float) -> None:
    """Refuse a share that would hide nothing or everything.

    Raises:
        ValueError: a ratio outside (0, 1).
    """
    if not 0 < ratio < 1:
        raise ValueError(f"the mask ratio is {ratio}; give a share between 0 and 1, such as 0.75")
