"""Shares, masks and sizes of label maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["class_shares", "size_remedy", "split_labels"]


def class_shares(labels: Tensor, num_classes: int, ignore: int | None = None) -> Tensor:
    """Return the fraction of the pixels of every class.

    Args:
        labels: any shape, integer class indices.
        num_classes: number of classes K.
        ignore: label of pixels that do not count.

    Returns:
        (K,) float64 in [0, 1] that sums to 1, or zeros if no pixel counts.

    Raises:
        ValueError: labels that are not integers, or neither a class nor ``ignore``.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels have dtype {labels.dtype}; give integer class indices")
    counted = labels.flatten().long()
    if ignore is not None:
        counted = counted[counted != ignore]
    if counted.numel() == 0:
        return torch.zeros(num_classes, dtype=torch.float64, device=labels.device)
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"labels hold {low if low < 0 else high}, outside the {num_classes} classes "
            f"0..{num_classes - 1}; pass that value as ignore, or the right number of classes"
        )
    return torch.bincount(counted, minlength=num_classes).double() / counted.numel()


def split_labels(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Split a label map into one mask per class.

    Args:
        labels: (H, W) int64; negative labels are not classes.

    Returns:
        The N classes present (N,) int64, ascending, and their masks (N, H, W) bool; N may be 0.
    """
    class_ids = labels.unique()
    class_ids = class_ids[class_ids >= 0]
    return class_ids, class_ids[:, None, None] == labels


def size_remedy(label_size: Sequence[int], image_size: Sequence[int]) -> str:
    """Return the remedy for labels and an image of different sizes, for the end of an error.

    Args:
        label_size: (h, w) of the labels.
        image_size: (h, w) of the image, its EXIF orientation applied.
    """
    if tuple(label_size) == tuple(image_size)[::-1]:
        return (
            "they must agree, and height and width are swapped, as where the image's EXIF "
            "orientation turns it by 90 degrees, which is applied, and the labels were not turned: "
            "turn the label file, too, or save both upright"
        )
    return "they must agree"
