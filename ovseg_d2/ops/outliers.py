"""Locations whose features are far from all others, and what replaces them.

Shape shorthand: B images, N = h*w locations, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["find_outliers", "local_outlier_factors", "replace_by_neighbours"]

# Distances held at once: 64 MiB in float32.
_DISTANCES_AT_ONCE = 2**24
_SMALLEST = 1e-12


def local_outlier_factors(points: Tensor, neighbours: int = 30) -> Tensor:
    """Compare the reach of each point's neighbourhood with those of its neighbours.

    The reach is the squared distance to the k-th nearest point; the factor is the mean, over the k
    nearest points, of the point's reach divided by theirs.

    Source: the official code of [scclip], clip/model.py. Departs: the local outlier factor of the
    literature takes distances, and the larger of distance and neighbour's reach.

    Args:
        points: (N, C).
        neighbours: k, at most N - 1.

    Returns:
        (N,) positive; about 1 inside a cluster, ones if there is one point.
    """
    points = at_least_float32(points)
    count = len(points)
    neighbours = min(neighbours, count - 1)
    if neighbours < 1:
        return points.new_ones(count)
    points = points - points.mean(dim=0)  # smaller numbers lose less to rounding
    rows_at_once = max(_DISTANCES_AT_ONCE // count, 1)
    reaches, nearest = [], []
    for start in range(0, count, rows_at_once):
        squared = torch.cdist(points[start : start + rows_at_once], points).square()
        squared.diagonal(offset=start).fill_(torch.inf)
        smallest = squared.topk(neighbours, largest=False)
        reaches.append(smallest.values[:, -1])
        nearest.append(smallest.indices)
    reach = torch.cat(reaches).clamp(min=_SMALLEST)
    return (reach[:, None] / reach[torch.cat(nearest)]).mean(dim=1)


def find_outliers(feats: Tensor, *, share: float = 0.05, neighbours: int = 30) -> Tensor:
    """Mark the locations of each image with the largest `local_outlier_factors`.

    Args:
        feats: (B, N, C).
        share: of the locations that are outliers, in [0, 1).
        neighbours: see `local_outlier_factors`.

    Returns:
        (B, N) bool: factors above the quantile 1 - share of their image.

    Raises:
        ValueError: a share outside [0, 1), or less than one neighbour.
    """
    if not 0 <= share < 1 or neighbours < 1:
        raise ValueError(
            f"share={share}, neighbours={neighbours}; give a share of the locations in [0, 1) and "
            "at least 1 neighbour"
        )
    factors = torch.stack([local_outlier_factors(points, neighbours) for points in feats])
    return factors > factors.quantile(1 - share, dim=1, keepdim=True)


def replace_by_neighbours(feats: Tensor, replaced: Tensor, grid: tuple[int, int]) -> Tensor:
    """Give marked locations the mean of their up to eight neighbours that are not marked.

    A location without such a neighbour stays as it is.

    Source: the official code of [scclip], clip/model.py.

    Args:
        feats: (B, N, C).
        replaced: (B, N) bool.
        grid: (h, w).

    Returns:
        (B, N, C).
    """
    kept = (~replaced).to(feats.dtype)[:, None].unflatten(2, grid)  # (B, 1, h, w)
    maps = feats.transpose(1, 2).unflatten(2, grid) * kept
    # The centre adds nothing to these sums at a marked location.
    sums, counts = (9 * F.avg_pool2d(x, 3, stride=1, padding=1) for x in (maps, kept))
    means = (sums / counts.clamp(min=1)).flatten(2).transpose(1, 2)
    has_neighbours = counts.flatten(1) > 0.5
    return torch.where((replaced & has_neighbours)[..., None], means, feats)
