"""What the truth says of a mask: the oracle's labels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["overlap_labels"]


def overlap_labels(masks: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Give each mask the class that most of its pixels have.

    Paper: [ovseg] Sec. 1: each region gets the label of the object that it overlaps most.

    Args:
        masks: (Q, H, W) bool.
        labels: (H, W) integer; other values than classes, such as an ignore label, do not count.
        num_classes: K.

    Returns:
        (Q,) int64 in 0..K-1; of classes that overlap equally the first, and -1 where a mask
        covers no pixel of any.

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
    most, found = counts.max(dim=1)
    return torch.where(most > 0, found, -1)
