"""Label maps of which some pixels are known, some are to be filled in, and some do not count.

Three kinds of values: 0 to K - 1 are classes; `UNLABELLED` is a pixel whose class nobody has told;
and the ignore label, 255 as a rule, is a pixel that is to have no class at all.
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
    """Fill in what is unlabelled; labels that were given stay, and so does what is ignored.

    Paper: [maskclip] Sec. 3.3 and its official code.

    Args:
        labels: (B, H, W) int64.
        pseudo_labels: (B, H, W) int64 classes.
        ignore: label of pixels that do not count.
        confidences: (B, H, W); where one is below ``threshold`` its pixel is ignored, if it was to
            be filled in. None trusts all. Departs: the release drops given labels there, too.
        threshold: see above.

    Returns:
        (B, H, W) int64, classes and ``ignore`` alone.
    """
    if confidences is not None:
        pseudo_labels = pseudo_labels.masked_fill(confidences < threshold, ignore)
    return torch.where(labels == UNLABELLED, pseudo_labels, labels)


def check_labels(
    labels: Tensor, num_classes: int, *, ignore: int = 255, forbidden: Sequence[int] = ()
) -> None:
    """Refuse label maps that hold what they must not.

    Args:
        labels: any shape, int64.
        num_classes: K.
        ignore: label of pixels that do not count.
        forbidden: classes whose labels training must not see.

    Raises:
        ValueError: a value that is neither a class, `UNLABELLED` nor ``ignore``; a forbidden class;
            or an ignore label that is one of the other two.
    """
    check_ignore(ignore, num_classes)
    if labels.dtype != torch.int64:
        raise ValueError(f"labels have dtype {labels.dtype}; give int64")
    found = torch.unique(labels).tolist()
    leaked = sorted(set(found) & set(forbidden))
    if leaked:
        raise ValueError(
            f"labels hold the unseen classes {leaked}: training must not see them; hide them, see "
            "INPUT.SEMANTIC.UNSEEN"
        )
    strange = [v for v in found if not 0 <= v < num_classes and v not in (UNLABELLED, ignore)]
    if strange:
        raise ValueError(
            f"labels hold {strange[0]}, and there are {num_classes} classes; map labels to 0.."
            f"{num_classes - 1}, {UNLABELLED} for unlabelled, {ignore} for ignored"
        )


def check_ignore(ignore: int, num_classes: int) -> None:
    """Refuse an ignore label that means something else.

    Args:
        ignore: label of pixels that do not count.
        num_classes: K.

    Raises:
        ValueError: it is a class, or `UNLABELLED`.
    """
    if 0 <= ignore < num_classes:
        raise ValueError(
            f"ignore is {ignore}, and so is one of the {num_classes} classes; set "
            "MODEL.SEM_SEG_HEAD.IGNORE_VALUE to a greater number"
        )
    if ignore == UNLABELLED:
        raise ValueError(
            f"ignore is {ignore}, which says that a pixel is to be labelled; set "
            "MODEL.SEM_SEG_HEAD.IGNORE_VALUE to another number, such as 255"
        )
