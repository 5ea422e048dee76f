"""K-means of a batch of point sets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["KMeans", "kmeans"]


class KMeans(NamedTuple):
    """A clustering of B sets of points.

    Attributes:
        ids: (B, N) int64, cluster of every point.
        centers: (B, K, C), means of the clusters; a cluster without points keeps its last centre.
        inertia: (B,), sums of the points' squared distances to their centres.
    """

    ids: Tensor
    centers: Tensor
    inertia: Tensor


@torch.no_grad()
def kmeans(points: Tensor, num_clusters: int, *, seed: int = 0, max_iters: int = 100) -> KMeans:
    """Cluster every set: a k-means++ start, then Lloyd's iterations until no point moves.

    The result of a set depends on the set and the seed only, not on its batch: the same random
    numbers, drawn on the CPU, start every set.

    Args:
        points: (B, N, C) floating, N at least 1; computed in float32 at least.
        num_clusters: K; with fewer distinct points in a set, some clusters stay empty.
        seed: of the start.
        max_iters: most iterations.

    Returns:
        Cluster ids, centres and inertia; floating values have the dtype of the computation.

    Raises:
        ValueError: points of another shape, or less than one cluster.
    """
    if points.ndim != 3 or points.shape[1] == 0 or not points.is_floating_point():
        raise ValueError(
            f"points are {tuple(points.shape)} of {points.dtype}; give (B, N, C), floating, with N "
            "at least 1"
        )
    if num_clusters < 1 or max_iters < 1:
        raise ValueError(
            f"num_clusters={num_clusters} and max_iters={max_iters}; give at least 1 of each"
        )
    points = at_least_float32(points)
    # Squared distances lose fewer digits near the origin.
    offset = points.mean(dim=1, keepdim=True)
    points = points - offset
    centers = _start(points, num_clusters, seed)
    ids = _distances(points, centers).argmin(dim=2)
    for _ in range(max_iters):
        centers = _means(points, ids, centers)
        moved = _distances(points, centers).argmin(dim=2)
        if torch.equal(moved, ids):
            break
        ids = moved
    point_centers = centers.gather(1, ids[..., None].expand_as(points))
    inertia = (points - point_centers).square().sum(dim=(1, 2))
    return KMeans(ids, centers + offset, inertia)


def _start(points: Tensor, num_clusters: int, seed: int) -> Tensor:
    """Choose (B, K, C) centres by k-means++: in proportion to squared distance from the nearest."""
    generator = torch.Generator().manual_seed(seed)
    # float64, so that cumulative sums do not round away the share of a point.
    draws = torch.rand(num_clusters, generator=generator, dtype=torch.float64).tolist()
    weights = torch.ones(points.shape[:2], dtype=torch.float64, device=points.device)
    centers = points.new_empty(points.shape[0], 0, points.shape[2])
    for draw in draws:
        total = weights.cumsum(dim=1)
        chosen = (total <= draw * total[:, -1:]).sum(dim=1).clamp(max=points.shape[1] - 1)
        center = points[torch.arange(len(points), device=points.device), chosen]
        distance = (points - center[:, None]).square().sum(dim=2).double()
        weights = distance if centers.shape[1] == 0 else torch.minimum(weights, distance)
        centers = torch.cat([centers, center[:, None]], dim=1)
    return centers


def _distances(points: Tensor, centers: Tensor) -> Tensor:
    """Return squared distances (B, N, K)."""
    norms = points.square().sum(dim=2)[..., None] + centers.square().sum(dim=2)[:, None]
    return (norms - 2 * torch.einsum("bnc,bkc->bnk", points, centers)).clamp(min=0)


def _means(points: Tensor, ids: Tensor, centers: Tensor) -> Tensor:
    member = torch.nn.functional.one_hot(ids, centers.shape[1]).to(points.dtype)
    sizes = member.sum(dim=1)[..., None]
    sums = torch.einsum("bnk,bnc->bkc", member, points)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), centers)
