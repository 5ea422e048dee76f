"""Confusion matrices that know which classes the same pixels may be called."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["forgive_pixels", "forgiving_gains"]


def forgive_pixels(counts: Tensor, forgiven: Tensor) -> Tensor:
    """Count pixels that are predicted as a class that is as right as their label.

    A forgiven pixel counts as if its label had been predicted: it is a hit of the labelled class
    and no false positive of the predicted one. IoU and accuracy of the result are the forgiving
    ones. Unions of labelled classes do not grow, so no IoU falls.

    Source: Open mIoU of Zhou et al., arXiv 2311.03352, and its code (qqlu/Entity,
    ``Open-Metrics/open_semanticseg/ow_sem_seg_evaluation.py``): a pixel predicted as p and labelled
    l is a hit of l with weight S[p, l], and stays where it is with weight 1 - S[p, l].
    Departs: S is 0 or 1 and need not be symmetric. There it is a similarity of words, such as
    WordNet's path similarity, by which every mistake is forgiven in part.

    Args:
        counts: C, (K, K) pixels: predicted class in rows, labelled in columns.
        forgiven: S, (K, K) bool; the diagonal has no effect.

    Returns:
        (K, K) of the dtype of ``counts``; the columns have the same sums.

    Raises:
        ValueError: other shapes.
    """
    _check(counts, forgiven)
    moved = torch.where(forgiven, counts, torch.zeros_like(counts)).fill_diagonal_(0)
    return counts - moved + torch.diag(moved.sum(dim=0))


def forgiving_gains(counts: Tensor, forgiven: Tensor) -> Tensor:
    """Compute what the mean of IoU gains if the pixels of a single pair are forgiven.

    Arguments and errors are those of `forgive_pixels`. The gains of pairs do not add up to that of
    all pairs.

    Returns:
        (K, K) float64 in [0, 1], over the classes with labels; 0 for pairs that are not forgiven.
    """
    _check(counts, forgiven)
    pixels = torch.where(forgiven, counts, torch.zeros_like(counts)).fill_diagonal_(0).double()
    hits, labelled = counts.diagonal().double(), counts.sum(dim=0) > 0
    union = (counts.sum(dim=0) + counts.sum(dim=1)).double() - hits
    # The labelled class (columns) gains hits, the predicted one (rows) loses false positives.
    of_label = pixels / union.clamp(min=1)
    smaller = (union[:, None] - pixels).clamp(min=1)
    of_prediction = hits[:, None] * pixels / (smaller * union.clamp(min=1)[:, None])
    gains = of_label + torch.where(labelled[:, None], of_prediction, 0.0)
    return gains / labelled.sum().clamp(min=1)


def _check(counts: Tensor, forgiven: Tensor) -> None:
    square = counts.dim() == 2 and counts.shape[0] == counts.shape[1]
    if not square or forgiven.shape != counts.shape or forgiven.dtype != torch.bool:
        raise ValueError(
            f"counts {tuple(counts.shape)} and forgiven {tuple(forgiven.shape)} of "
            f"{forgiven.dtype}; give (K, K) counts, and (K, K) bool"
        )
