"""Label maps with three kinds of values: classes, unlabelled pixels and ignored pixels.

0 to K - 1 are classes; `UNLABELLED` is an unknown class, which pseudo-labels fill in; the ignore
label, 255 by default, is a pixel that does not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["UNLABELLED", "check_ignore", "check_labels", "fill_unlabelled"]

UNLABELLED = -1


def fill_unlabelled(
    labels: Tensor,
    pseudo_labels: Tensor,
    *,
    ignore: int = 255,
    confidences: Tensor | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """Fill unlabelled pixels with pseudo-labels; classes and ignored pixels do not change.

    Paper: [maskclip] Sec. 3.3 and its official code.
    Departs: the release also ignores labelled pixels of low confidence.

    Args:
        labels: (B, H, W) int64.
        pseudo_labels: (B, H, W) int64 classes.
        ignore: label of pixels that do not count.
        confidences: (B, H, W) of the pseudo-labels; None accepts all.
        threshold: pseudo-labels of lower confidence become ``ignore``.

    Returns:
        (B, H, W) int64, classes and ``ignore`` only.
    """
    if confidences is not None:
        pseudo_labels = pseudo_labels.masked_fill(confidences < threshold, ignore)
    return torch.where(labels == UNLABELLED, pseudo_labels, labels)


def check_labels(
    labels: Tensor, num_classes: int, *, ignore: int = 255, forbidden: Sequence[int] = ()
) -> None:
    """Check the values of label maps.

    Args:
        labels: any shape, int64.
        num_classes: K.
        ignore: label of pixels that do not count.
        forbidden: classes whose labels training must not see.

    Raises:
        ValueError: a value that is neither a class, `UNLABELLED` nor ``ignore``; a forbidden class;
            another dtype; or as `check_ignore`.
    """
    check_ignore(ignore, num_classes)
    if labels.dtype != torch.int64:
        raise ValueError(f"labels have dtype {labels.dtype}; give int64")
    values = torch.unique(labels).tolist()
    leaked = sorted(set(values) & set(forbidden))
    if leaked:
        raise ValueError(
            f"labels hold the unseen classes {leaked}: training must not see them; hide them, see "
            "INPUT.SEMANTIC.UNSEEN"
        )
    unknown = [v for v in values if not 0 <= v < num_classes and v not in (UNLABELLED, ignore)]
    if unknown:
        raise ValueError(
            f"labels hold {unknown[0]}, and there are {num_classes} classes; map labels to 0.."
            f"{num_classes - 1}, {UNLABELLED} for unlabelled, {ignore} for ignored"
        )


def check_ignore(ignore: int, num_classes: int) -> None:
    """Check that the ignore label has no other meaning.

    Args:
        ignore: label of pixels that do not count.
        num_classes: K.

    Raises:
        ValueError: ``ignore`` is a class, or `UNLABELLED`.
    """
    if 0 <= ignore < num_classes:
        raise ValueError(
            f"ignore is {ignore}, and so is one of the {num_classes} classes; set "
            "MODEL.SEM_SEG_HEAD.IGNORE_VALUE to a greater number"
        )
    if ignore == UNLABELLED:
        raise ValueError(
            f"ignore is {ignore}, which marks unlabelled pixels; set "
            "MODEL.SEM_SEG_HEAD.IGNORE_VALUE to another number, such as 255"
        )
