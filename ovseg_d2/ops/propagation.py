"""Spreading scores over a graph of locations with similar features.

Shape shorthand: N locations of an image, C channels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["Propagation", "neighbour_graph", "propagate_scores"]

# Cosines held at once: 64 MiB in float32.
_COSINES_AT_ONCE = 2**24


@dataclass(frozen=True)
class Propagation:
    """Options of `neighbour_graph` and `propagate_scores`; defaults are those of [lposs].

    Attributes:
        alpha: share of a location's score that comes from its neighbours, in (0, 1).
        neighbours: number of most similar locations, itself included.
        exponent: of the cosines.
        decay: of the similarity for each pixel of distance.
        steps: largest number of steps of conjugate gradients.
        tolerance: of the residual, relative to the scores of a class.
    """

    alpha: float = 0.95
    neighbours: int = 400
    exponent: float = 3.0
    decay: float = 0.01
    steps: int = 10
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        """Check the values."""
        if not (0 < self.alpha < 1 and self.neighbours >= 1 and self.steps >= 1):
            raise ValueError(
                f"alpha={self.alpha}, neighbours={self.neighbours}, steps={self.steps}; give a "
                "share between 0 and 1, and at least 1 neighbour and step"
            )
        if not (self.exponent > 0 and self.decay >= 0 and self.tolerance >= 0):
            raise ValueError(
                f"exponent={self.exponent}, decay={self.decay}, tolerance={self.tolerance}; give a "
                "positive exponent, and for the others at least 0"
            )


def neighbour_graph(feats: Tensor, places: Tensor, options: Propagation) -> Tensor:
    """Build the normalised graph of the most similar locations.

    W = max(cosine, 0)^exponent exp(-decay distance) for the nearest by cosine, made symmetric by
    adding its transpose, without diagonal; the graph is D^-1/2 W D^-1/2 with D the sums of rows.

    Source: the official code of [lposs], segmentation/evaluation/lposs_eval.py.

    Args:
        feats: (N, C), raw.
        places: (N, 2), pixels.
        options: see `Propagation`.

    Returns:
        (N, N) sparse COO, at least float32, with at most 2 N neighbours entries.
    """
    feats = F.normalize(at_least_float32(feats), dim=-1)
    places = places.to(feats)
    count = len(feats)
    neighbours = min(options.neighbours, count)
    rows_at_once = max(_COSINES_AT_ONCE // max(count, 1), 1)
    weights, nearest = [], []
    for start in range(0, count, rows_at_once):
        rows = slice(start, start + rows_at_once)
        best = (feats[rows] @ feats.T).topk(neighbours)
        distance = (places[rows, None] - places[best.indices]).norm(dim=-1)
        near = torch.exp(-options.decay * distance)
        weights.append(best.values.clamp(min=0) ** options.exponent * near)
        nearest.append(best.indices)
    columns, weight = torch.cat(nearest).flatten(), torch.cat(weights).flatten()
    row_ids = torch.arange(count, device=feats.device).repeat_interleave(neighbours)
    weight = weight.masked_fill(row_ids == columns, 0.0)
    both = torch.stack([torch.cat([row_ids, columns]), torch.cat([columns, row_ids])])
    degree = weight.new_zeros(count).index_add_(0, both[0], weight.repeat(2))
    root = torch.where(degree > 0, degree, 1.0).rsqrt()
    values = weight.repeat(2) * root[both[0]] * root[both[1]]
    graph = torch.sparse_coo_tensor(both, values, (count, count), check_invariants=False)
    return graph.coalesce()


def propagate_scores(graph: Tensor, scores: Tensor, options: Propagation) -> Tensor:
    """Solve (I - alpha graph) Z = scores by conjugate gradients, each class for itself.

    Source: the official code of [lposs], which stops after ten steps.

    Args:
        graph: (N, N) sparse, from `neighbour_graph`.
        scores: (N, K).
        options: see `Propagation`.

    Returns:
        (N, K), Z.
    """
    scores = scores.to(graph.dtype)
    solution, residual = torch.zeros_like(scores), scores
    direction = residual
    squared = residual.square().sum(dim=0)
    least = squared * options.tolerance**2
    for _ in range(options.steps):
        active = squared > least
        if not active.any():
            break
        image = direction - options.alpha * (graph @ direction)
        length = squared / (direction * image).sum(dim=0).where(active, 1.0)
        length = length.where(active, 0.0)
        solution = solution + length * direction
        residual = residual - length * image
        before, squared = squared, residual.square().sum(dim=0)
        direction = residual + (squared / before.where(active, 1.0)) * direction
    return solution
