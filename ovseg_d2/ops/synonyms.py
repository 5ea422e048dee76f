"""From the scores of words to the scores of classes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["max_over_words"]


def max_over_words(row_scores: Tensor, class_ids: Tensor, num_classes: int) -> Tensor:
    """Give each class the best score of its rows, location by location.

    Source: the official code of [sclip] and [naclip], which take it over probabilities: the
    softmax over all R rows comes before. Scores of any kind are reduced alike; only where one
    class has more words than another do the two orders differ.

    Args:
        row_scores: (R, h, w) or (B, R, h, w) floating, one row a word.
        class_ids: (R,) integer, the class of each row, in any order; each of 0..K-1 occurs.
        num_classes: K.

    Returns:
        (K, h, w) or (B, K, h, w) of the same dtype. The gradient of a class goes to its best
        row, in equal parts to rows that tie.

    Raises:
        ValueError: scores or class ids of another shape or type, an id out of range, or a class
            without a row.
    """
    _check(row_scores, class_ids, num_classes)
    index = class_ids.long()[:, None, None].expand_as(row_scores)
    shape = (*row_scores.shape[:-3], num_classes, *row_scores.shape[-2:])
    return row_scores.new_zeros(shape).scatter_reduce(
        -3, index, row_scores, reduce="amax", include_self=False
    )


def _check(row_scores: Tensor, class_ids: Tensor, num_classes: int) -> None:
    if row_scores.dim() not in (3, 4) or not row_scores.is_floating_point():
        raise ValueError(
            f"row_scores have shape {tuple(row_scores.shape)} and dtype {row_scores.dtype}; give "
            "(R, h, w) or (B, R, h, w) of a floating type"
        )
    num_rows = row_scores.shape[-3]
    if tuple(class_ids.shape) != (num_rows,) or class_ids.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"class_ids have shape {tuple(class_ids.shape)} and dtype {class_ids.dtype}; give the "
            f"class of each of the {num_rows} rows as ({num_rows},) int64"
        )
    found = sorted(set(class_ids.tolist()))
    if found != list(range(num_classes)):
        raise ValueError(
            f"class_ids hold the classes {found[:5]}{'...' if len(found) > 5 else ''}, "
            f"{len(found)} in all; each of 0..{num_classes - 1} must occur, and no other"
        )
