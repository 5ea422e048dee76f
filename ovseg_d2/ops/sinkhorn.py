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
    """Which cluster each mask belongs to.

    Attributes:
        probs: (M, P) float32, this rank's rows of Q, each of sum 1.
        cluster_ids: (M,) int64, the best cluster of each of this rank's masks.
        counts: (P,) int64, how many masks of all ranks each cluster was given.
        entropy: 0-dim, mean over the masks of all ranks of the entropy of a row, in nats; 0 where
            there is no mask.
    """

    probs: Tensor
    cluster_ids: Tensor
    counts: Tensor
    entropy: Tensor


@torch.no_grad()
def sinkhorn(
    logits: Tensor, *, epsilon: float = 1.0, num_iters: int = 3, official: bool = False
) -> Tensor:
    """Assign M masks to P clusters softly, so that all clusters get equally much.

    Paper: [pixelclip] Sec. 3.3: Q = diag(u) exp(F_M^T f_C / epsilon) diag(v) with u and v such that
    each cluster holds 1/P of all masks; found by scaling clusters and masks in turn. Masks are
    scaled last: their rows are exact, and the clusters' shares become equal as iterations go on.
    Departs: rows have sum 1 instead of 1/M. Everything is done with logarithms, so that no scale of
    the logits overflows and no cluster dies; the release gives NaN for all masks once a cluster's
    probability underflows for each of them.

    Args:
        logits: (M, P) floating; M may be 0 and may be smaller than P.
        epsilon: what logits are divided by; small ones sharpen. [pixelclip] has 0.01 for cosines of
            a ViT and 1 for those of a ConvNeXt.
        num_iters: scalings of clusters and masks; 0 is each mask's softmax, without any balance.
        official: start from the softmax over clusters, as the release does, not from exp. The limit
            is the same; after a few iterations the results differ.

    Returns:
        (M, P) float32 (float64 for float64 logits), rows of sum 1; without gradient.

    Raises:
        ValueError: logits of another shape or type, an epsilon that is not positive or fewer than 0
            iterations.
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
    """Run `sinkhorn` over the masks of all ranks and give each rank its own.

    The rows of all ranks are gathered, so that every rank computes what a single process would of
    the joined batch, to the last bit. All ranks must call it, those without a mask too.

    Args:
        logits: (M, P) floating; M may differ from rank to rank and may be 0.
        epsilon: as for `sinkhorn`, like all that follow.
        num_iters: likewise.
        official: likewise.
        memory: (R, P), further rows that share in the balance and are the same on all ranks, of
            masks seen before; nothing is told of them.

    Returns:
        The assignment of this rank's masks.

    Raises:
        ValueError: as `sinkhorn`.
    """
    _check(logits, epsilon, num_iters)
    joined, own = gather_rows(at_least_float32(logits))
    rows = joined if memory is None else torch.cat([joined, memory.to(joined)])
    log_probs = _log_sinkhorn(rows, epsilon, num_iters, official)[: len(joined)]
    cluster_ids = log_probs.argmax(dim=1)
    entropies = -torch.special.xlogy(log_probs.exp(), log_probs.exp()).sum(dim=1)
    return Assignment(
        probs=log_probs[own].exp(),
        cluster_ids=cluster_ids[own],
        counts=torch.bincount(cluster_ids, minlength=logits.shape[1]),
        entropy=entropies.sum() / max(len(entropies), 1),
    )


def _log_sinkhorn(logits: Tensor, epsilon: float, num_iters: int, official: bool) -> Tensor:
    """Logarithm of what `sinkhorn` returns."""
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
    """Rows (M, C) of all ranks one after the other, and where this rank's are.

    All ranks must call it; M may differ from rank to rank and may be 0. Without gradient.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return rows, slice(None)
    world, rank = dist.get_world_size(), dist.get_rank()
    count = torch.tensor([len(rows)], device=rows.device)
    all_counts = [torch.empty_like(count) for _ in range(world)]
    dist.all_gather(all_counts, count)
    counts = [int(each) for each in all_counts]
    # all_gather wants equal shapes.
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
            "floating type, a row a mask and a column a cluster"
        )
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; give a positive number to divide logits by")
    if num_iters < 0:
        raise ValueError(f"num_iters is {num_iters}; give 0 or more")
