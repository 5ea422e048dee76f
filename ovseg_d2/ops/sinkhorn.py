"""Balanced assignment of masks to clusters: Sinkhorn-Knopp in the log domain, over all ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["Assignment", "assign_clusters", "gather_rows", "sinkhorn"]


@dataclass(frozen=True, eq=False)
class Assignment:
    """The clusters of this rank's masks.

    Attributes:
        probs: (M, P) float32, this rank's rows of Q, with sum 1.
        cluster_ids: (M,) int64, the best cluster of this rank's masks.
        counts: (P,) int64, number of masks of all ranks per cluster.
        entropy: 0-dim, mean entropy of a row over the masks of all ranks, in nats; 0 without masks.
    """

    probs: Tensor
    cluster_ids: Tensor
    counts: Tensor
    entropy: Tensor


@torch.no_grad()
def sinkhorn(
    logits: Tensor, *, epsilon: float = 1.0, num_iters: int = 3, official: bool = False
) -> Tensor:
    """Assign M masks to P clusters softly, in equal shares per cluster.

    Paper: [pixelclip] Sec. 3.3: Q = diag(u) exp(F_M^T f_C / epsilon) diag(v) with u and v such that
    every cluster holds 1/P of all masks; u and v result from scaling clusters and masks in turn.
    Masks are scaled last: their rows are exact, and the clusters' shares converge.
    Departs: rows have sum 1 instead of 1/M. The computation is in logarithms, so that no logits
    overflow and no cluster dies; the release returns NaN for all masks once a cluster's probability
    underflows for all of them.

    Args:
        logits: (M, P) floating; M may be 0 and may be smaller than P.
        epsilon: divisor of the logits; a smaller one sharpens. [pixelclip] has 0.01 for cosines of
            a ViT and 1 for those of a ConvNeXt.
        num_iters: scalings of clusters and masks; 0 is the softmax of every mask, unbalanced.
        official: start from the softmax over clusters, as the release, not from exp. The limit is
            the same; after a few iterations the results differ.

    Returns:
        (M, P) float32 (float64 for float64 logits), rows of sum 1; without gradient.

    Raises:
        ValueError: logits of another shape or type, an epsilon that is not positive, or a negative
            ``num_iters``.
    """
    return _log_sinkhorn(logits, epsilon, num_iters, official).exp()


@torch.no_grad()
def assign_clusters(
    logits: Tensor,
    *,
    epsilon: float = 1.0,
    num_iters: int = 3,
    official: bool = False,
    memory: Tensor | None = None,
) -> Assignment:
    """Run `sinkhorn` over the masks of all ranks and return this rank's rows.

    The rows of all ranks are gathered, so that the result equals that of one process on the joined
    batch, to the last bit. All ranks must call it, with or without masks. Other arguments and
    errors are those of `sinkhorn`.

    Args:
        logits: (M, P) floating; M may differ between ranks and may be 0.
        epsilon: divisor of the logits.
        num_iters: scalings of clusters and masks.
        official: follow the release.
        memory: (R, P), rows of earlier masks, the same on all ranks, that take part in the balance
            but not in the result.

    Returns:
        The assignment of this rank's masks.
    """
    _check(logits, epsilon, num_iters)
    joined, rank_rows = gather_rows(at_least_float32(logits))
    rows = joined if memory is None else torch.cat([joined, memory.to(joined)])
    log_probs = _log_sinkhorn(rows, epsilon, num_iters, official)[: len(joined)]
    cluster_ids = log_probs.argmax(dim=1)
    entropies = -torch.special.xlogy(log_probs.exp(), log_probs.exp()).sum(dim=1)
    return Assignment(
        probs=log_probs[rank_rows].exp(),
        cluster_ids=cluster_ids[rank_rows],
        counts=torch.bincount(cluster_ids, minlength=logits.shape[1]),
        entropy=entropies.sum() / max(len(entropies), 1),
    )


def _log_sinkhorn(logits: Tensor, epsilon: float, num_iters: int, official: bool) -> Tensor:
    """Return the logarithm of the result of `sinkhorn`."""
    _check(logits, epsilon, num_iters)
    log_q = at_least_float32(logits) / epsilon
    if len(log_q) == 0:
        return log_q
    if official or num_iters == 0:
        log_q = log_q.log_softmax(dim=1)
    for _ in range(num_iters):
        # The constants of the marginals, 1/P and 1/M, cancel.
        log_q = log_q.log_softmax(dim=0)
        log_q = log_q.log_softmax(dim=1)
    return log_q


def gather_rows(rows: Tensor) -> tuple[Tensor, slice]:
    """Concatenate rows (M, C) of all ranks; returns them and the slice of this rank's rows.

    All ranks must call it; M may differ between ranks and may be 0. Without gradient.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows, slice(None)
    world, rank = dist.get_world_size(), dist.get_rank()
    count = torch.tensor([len(rows)], device=rows.device)
    all_counts = [torch.empty_like(count) for _ in range(world)]
    dist.all_gather(all_counts, count)
    counts = [int(rank_count) for rank_count in all_counts]
    # all_gather needs equal shapes.
    padded = rows.new_zeros(max(counts), rows.shape[1])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    joined = torch.cat([part[:length] for part, length in zip(parts, counts, strict=True)])
    first = sum(counts[:rank])
    return joined, slice(first, first + len(rows))


def _check(logits: Tensor, epsilon: float, num_iters: int) -> None:
    if logits.dim() != 2 or logits.shape[1] == 0 or not logits.is_floating_point():
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and dtype {logits.dtype}; give (M, P) of a "
            "floating type, one row per mask and one column per cluster"
        )
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; give a positive number to divide logits by")
    if num_iters < 0:
        raise ValueError(f"num_iters is {num_iters}; give 0 or more")
