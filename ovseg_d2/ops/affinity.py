"""Mixing vectors of locations by the cosines of other features at these locations.

Shape shorthand: B images, N locations, C channels of the features, V of the values. No N x N matrix
is held: rows go in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["mix_by_affinity", "mix_by_cosines"]

# Cosines held at once: 64 MiB in float32.
_COSINES_AT_ONCE = 2**24


def mix_by_affinity(
    feats: Tensor, values: Tensor, *, mean_weight: float = 1.2, scale: float = 3.0
) -> Tensor:
    """Mix values by the softmax of cosines above the image's mean cosine.

    With S the N x N cosines of the features, weights are softmax(scale (S - mean_weight mean(S)))
    along rows, where entries below 0 before the softmax have weight 0.

    Source: the official code of [proxyclip], open_clip/transformer.py; [scclip] has the
    same with other constants.
    Departs: the mean is of each image, not of a batch; and a location always keeps itself, where
    the release divides by 0 if ``mean_weight`` times the mean exceeds 1.

    Args:
        feats: (B, N, C), raw.
        values: (B, N, V).
        mean_weight: factor of the mean cosine.
        scale: factor of the differences.

    Returns:
        (B, N, V) in the dtype of the values.
    """
    # Half precision would make different cosines equal.
    with torch.autocast(feats.device.type, enabled=False):
        feats = F.normalize(at_least_float32(feats), dim=-1)
        # The mean of all N x N cosines is the squared length of the mean vector.
        mean = feats.mean(dim=1).square().sum(dim=-1)[:, None, None]
        mixed = []
        for start, cosines in _rows_of_cosines(feats):
            logits = scale * (cosines - mean_weight * mean)
            weights = logits.masked_fill(logits < 0, -torch.inf)
            _same_location(weights, start).copy_(_same_location(logits, start))
            mixed.append(weights.softmax(dim=-1).to(values.dtype) @ values)
        return torch.cat(mixed, dim=1)


def mix_by_cosines(feats: Tensor, values: Tensor, *, threshold: float = 0.4) -> Tensor:
    """Mix values by the cosines of the features that reach a threshold; weights sum to 1.

    Source: the official code of [scclip], clip/model.py, adaptive aggregation.

    Args:
        feats: (B, N, C), raw.
        values: (B, N, V).
        threshold: smallest cosine that counts, in (0, 1].

    Returns:
        (B, N, V) in the dtype of the values.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}; give the smallest cosine that counts, in (0, 1]")
    with torch.autocast(feats.device.type, enabled=False):
        feats = F.normalize(at_least_float32(feats), dim=-1)
        mixed = []
        for start, cosines in _rows_of_cosines(feats):
            weights = cosines.masked_fill(cosines < threshold, 0.0)
            # A threshold of 1 would lose a location's cosine with itself to rounding.
            _same_location(weights, start).copy_(_same_location(cosines, start))
            weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)
            mixed.append(weights.to(values.dtype) @ values)
        return torch.cat(mixed, dim=1)


def _rows_of_cosines(feats: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row's number and cosines (B, rows, N) of unit features (B, N, C)."""
    batch, count, _ = feats.shape
    rows_at_once = max(_COSINES_AT_ONCE // max(batch * count, 1), 1)
    for start in range(0, count, rows_at_once):
        yield start, feats[:, start : start + rows_at_once] @ feats.mT


def _same_location(rows: Tensor, start: int) -> Tensor:
    """View of the entries of (B, rows, N) that compare a location with itself."""
    return rows.diagonal(offset=start, dim1=1, dim2=2)
