"""Reduce the scores of words to scores of classes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["max_over_words"]


def max_over_words(
    row_scores: Tensor, class_ids: Tensor, num_classes: int, dim: int = -3
) -> Tensor:
    """Return the best score among the words of every class.

    Source: the official code of [sclip] and [naclip], which apply it to probabilities, after the
    softmax over all R rows. On scores before the softmax the result differs if classes have
    different numbers of words.

    Args:
        row_scores: floating, of size R along ``dim``, one row per word: (R, h, w) or (B, R, h, w)
            with the default.
        class_ids: (R,) integer, the class of a row, in any order; each of 0..K-1 occurs.
        num_classes: K.
        dim: the dimension of the rows.

    Returns:
        Scores of the same dtype with size K along ``dim``, (K, h, w) or (B, K, h, w) with the
        default. The gradient of a class goes to its best row, in equal parts to rows that tie.

    Raises:
        ValueError: scores or class ids of another shape or type, or an id out of range.
    """
    num_rows = row_scores.shape[dim] if -row_scores.dim() <= dim < row_scores.dim() else None
    if not row_scores.is_floating_point() or num_rows is None:
        raise ValueError(
            f"row_scores have shape {tuple(row_scores.shape)} and dtype {row_scores.dtype}; give a "
            f"floating type, with the rows along dimension {dim}"
        )
    if tuple(class_ids.shape) != (num_rows,) or class_ids.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"class_ids have shape {tuple(class_ids.shape)} and dtype {class_ids.dtype}; give the "
            f"class of each of the {num_rows} rows as ({num_rows},) int64"
        )
    index = class_ids.long().view([-1] + [1] * (row_scores.dim() - 1 - dim % row_scores.dim()))
    shape = list(row_scores.shape)
    shape[dim] = num_classes
    return row_scores.new_zeros(shape).scatter_reduce(
        dim, index.expand_as(row_scores), row_scores, reduce="amax", include_self=False
    )
