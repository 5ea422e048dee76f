"""Label masks by the ground truth, for oracles."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["overlap_labels"]


def overlap_labels(masks: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Assign to every mask the most frequent class of its pixels.

    Paper: [ovseg] Sec. 1: each region gets the label of the object that it overlaps most.

    Args:
        masks: (Q, H, W) bool.
        labels: (H, W) integer; values outside 0..K-1, such as an ignore label, do not count.
        num_classes: K.

    Returns:
        (Q,) int64 in 0..K-1, the lowest index in a tie; -1 for a mask without a labelled pixel.

    Raises:
        ValueError: masks of another size than the labels.
    """
    if masks.dim() != 3 or masks.shape[-2:] != labels.shape:
        raise ValueError(
            f"masks {tuple(masks.shape)} and labels {tuple(labels.shape)} must be (Q, H, W) and "
            "(H, W): resize the masks to the labels"
        )
    known = (labels >= 0) & (labels < num_classes)
    classes = labels[known].long()
    counts = torch.zeros(len(masks), num_classes, device=masks.device)
    counts.index_add_(1, classes, masks[:, known].float())
    most, class_ids = counts.max(dim=1)
    return torch.where(most > 0, class_ids, -1)
