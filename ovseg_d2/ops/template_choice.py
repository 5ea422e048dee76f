"""Choose the prompt templates of each class by the entropy of predictions, without labels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy_by_class", "lowest_entropy"]


def entropy_by_class(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the entropy of predictions over the locations that each class wins.

    Args:
        logits: (T, K, h, w) floating, of K classes by T classifiers.

    Returns:
        Sums (T, K) of the entropy of the softmax over classes, in nats, float64; and the numbers
        (T, K) of locations.
    """
    log_probs = logits.float().log_softmax(dim=1)
    entropy = -(log_probs.exp() * log_probs).sum(dim=1).flatten(1).double()  # (T, h*w)
    winners = logits.argmax(dim=1).flatten(1)
    sums = entropy.new_zeros(logits.shape[:2])
    return (
        sums.scatter_add(1, winners, entropy),
        sums.scatter_add(1, winners, torch.ones_like(entropy)),
    )


def lowest_entropy(sums: Tensor, counts: Tensor, keep: int) -> list[list[int]]:
    """Rank templates for each class by the mean entropy of the locations that the class wins.

    Source: the official code of [floss], `entropy_metric.py` and `naclip.py`: templates whose
    classifier predicts a class nowhere are no candidates.

    Args:
        sums: (T, K) of `entropy_by_class`, summed over images.
        counts: (T, K) of the same.
        keep: most templates of a class.

    Returns:
        For each class at most ``keep`` templates, the lowest entropy first; [] for a class that
        no template predicts.

    Raises:
        ValueError: ``keep`` is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; keep at least 1 template for each class")
    means = torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf)
    order = means.argsort(dim=0, stable=True)[:keep]  # (keep, K)
    return [
        [t for t in order[:, k].tolist() if means[t, k].isfinite()] for k in range(means.shape[1])
    ]
