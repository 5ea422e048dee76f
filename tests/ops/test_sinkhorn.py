"""Sinkhorn: loops, optimal transport, extreme inputs and the official numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from ovseg_d2.ops import assign_clusters, sinkhorn

WORKER = Path(__file__).with_name("sinkhorn_worker.py")


def by_loops(
    logits: torch.Tensor, epsilon: float, num_iters: int, official: bool = False
) -> np.ndarray:
    """Scale clusters and masks of exp(logits / epsilon) in turn, number by number."""
    num_masks, num_clusters = logits.shape
    q = np.exp(logits.double().numpy() / epsilon)
    if official:
        for m in range(num_masks):
            q[m] /= sum(q[m])
    for _ in range(num_iters):
        for p in range(num_clusters):
            total = sum(q[m, p] for m in range(num_masks))
            for m in range(num_masks):
                q[m, p] /= total * num_clusters
        for m in range(num_masks):
            total = sum(q[m, p] for p in range(num_clusters))
            for p in range(num_clusters):
                q[m, p] /= total * num_masks
    return q * num_masks


def test_sinkhorn_worked_by_hand():
    """exp of the logits is [[3, 1], [1, 1]]: columns by 4 and 2, then rows by 5/4 and 3/4."""
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    expected = torch.tensor([[3 / 5, 2 / 5], [1 / 3, 2 / 3]])
    torch.testing.assert_close(sinkhorn(logits, num_iters=1), expected)


def test_sinkhorn_official_worked_by_hand():
    """Its softmax is [[3/4, 1/4], [1/2, 1/2]]: columns by 5/4 and 3/4, then rows."""
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    expected = torch.tensor([[9 / 14, 5 / 14], [3 / 8, 5 / 8]])
    torch.testing.assert_close(sinkhorn(logits, num_iters=1, official=True), expected)


@pytest.mark.parametrize("shape", [(7, 4), (3, 9), (5, 5), (1, 6), (6, 1), (1, 1)])
@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize(("epsilon", "num_iters"), [(1.0, 3), (0.1, 1), (0.05, 7)])
def test_sinkhorn_equals_loops(shape, official, epsilon, num_iters):
    logits = torch.randn(shape)
    expected = torch.from_numpy(by_loops(logits, epsilon, num_iters, official))
    actual = sinkhorn(logits, epsilon=epsilon, num_iters=num_iters, official=official)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=1e-4, atol=1e-5)


def test_sinkhorn_without_iterations_is_a_softmax():
    logits = torch.randn(4, 3)
    expected = (logits / 0.3).softmax(dim=1)
    torch.testing.assert_close(sinkhorn(logits, epsilon=0.3, num_iters=0), expected)


@pytest.mark.parametrize("shape", [(12, 4), (4, 4), (3, 8)])
def test_sinkhorn_converges_to_optimal_transport(shape):
    num_masks, num_clusters = shape
    logits = torch.rand(shape, dtype=torch.float64)
    q = sinkhorn(logits, epsilon=0.005, num_iters=3000)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(num_masks, dtype=torch.float64))
    share = torch.full((num_clusters,), num_masks / num_clusters, dtype=torch.float64)
    torch.testing.assert_close(q.sum(dim=0), share, rtol=1e-3, atol=1e-3)
    # The linear program that it approaches.
    rows = np.kron(np.eye(num_masks), np.ones(num_clusters))
    columns = np.kron(np.ones(num_masks), np.eye(num_clusters))
    best = linprog(
        -logits.flatten().numpy(),
        A_eq=np.concatenate([rows, columns]),
        b_eq=np.concatenate([np.ones(num_masks), share.numpy()]),
    )
    assert float((q * logits).sum()) == pytest.approx(-best.fun, rel=0.01)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("official", [False, True])
def test_sinkhorn_is_finite_at_any_scale_and_dtype(scale, dtype, official):
    logits = torch.randn(9, 5).to(dtype)
    q = sinkhorn(logits, epsilon=1 / scale, official=official)
    assert q.dtype == torch.float32
    assert torch.isfinite(q).all()
    torch.testing.assert_close(q.sum(dim=1), torch.ones(9))


def test_sinkhorn_computes_half_precision_in_float32():
    logits = torch.randn(9, 5).bfloat16()
    for official in (False, True):
        half = sinkhorn(logits, epsilon=0.01, official=official)
        assert torch.equal(half, sinkhorn(logits.float(), epsilon=0.01, official=official))


def test_sinkhorn_is_exact_at_logits_of_1e4():
    """Both masks prefer cluster 0, mask 0 more so; exp would overflow.

    Mask 1 goes to cluster 1 at once; mask 0 is then (2, 1) / 3, (4, 1) / 5 and (6, 1) / 7.
    """
    logits = torch.tensor([[2e4, 0.0], [1e4, 0.0]])
    torch.testing.assert_close(sinkhorn(logits), torch.tensor([[6 / 7, 1 / 7], [0.0, 1.0]]))


def test_sinkhorn_balances_an_unlikely_cluster():
    logits = torch.randn(8, 4)
    logits[:, 2] -= 1e4
    q = sinkhorn(logits, num_iters=50)
    torch.testing.assert_close(q.sum(dim=0), torch.full((4,), 2.0), rtol=1e-3, atol=1e-3)


def test_assign_clusters_of_fewer_masks_than_clusters():
    # The row of a single mask is uniform, because all clusters have the same share.
    torch.testing.assert_close(sinkhorn(torch.randn(1, 5)), torch.full((1, 5), 0.2))
    assignment = assign_clusters(torch.tensor([[9.0, 0, 0, 0], [8, 0, 4, 0]]), num_iters=3)
    assert assignment.cluster_ids.tolist() == [0, 2]
    assert assignment.counts.tolist() == [1, 0, 1, 0]


def test_assign_clusters_without_masks():
    assignment = assign_clusters(torch.zeros(0, 3))
    assert assignment.probs.shape == (0, 3)
    assert assignment.cluster_ids.shape == (0,)
    assert assignment.cluster_ids.dtype == torch.int64
    assert assignment.counts.tolist() == [0, 0, 0]
    assert assignment.entropy.item() == 0


def test_assign_clusters_summary():
    logits = torch.tensor([[8.0, 0], [8, 1], [0, 8], [3, 5]]).requires_grad_()
    assignment = assign_clusters(logits, epsilon=2.0, num_iters=5)
    q = by_loops(logits.detach(), 2.0, 5)
    assert not assignment.probs.requires_grad
    assert assignment.cluster_ids.tolist() == q.argmax(axis=1).tolist()
    assert assignment.counts.tolist() == np.bincount(q.argmax(axis=1), minlength=2).tolist()
    assert assignment.entropy.item() == pytest.approx(-(q * np.log(q)).sum() / 4, rel=1e-4)


def test_assign_clusters_memory_takes_part_in_the_balance():
    torch.manual_seed(0)
    cosines, memory = torch.rand(6, 4), torch.rand(20, 4)
    assignment = assign_clusters(cosines, epsilon=0.1, memory=memory)
    joined = sinkhorn(torch.cat([cosines, memory]), epsilon=0.1)
    torch.testing.assert_close(assignment.probs, joined[:6])
    assert not torch.allclose(assignment.probs, sinkhorn(cosines, epsilon=0.1), atol=1e-2)
    assert torch.equal(assignment.cluster_ids, joined[:6].argmax(dim=1))
    assert assignment.counts.sum() == 6
    entropies = torch.distributions.Categorical(probs=joined[:6]).entropy()
    torch.testing.assert_close(assignment.entropy, entropies.mean())


@pytest.mark.parametrize(
    ("logits", "options", "message"),
    [
        (torch.zeros(3), {}, r"logits have shape \(3,\)"),
        (torch.zeros(3, 0), {}, r"shape \(3, 0\)"),
        (torch.zeros(3, 2, dtype=torch.long), {}, "dtype torch.int64"),
        (torch.zeros(3, 2), {"epsilon": 0.0}, "epsilon is 0.0"),
        (torch.zeros(3, 2), {"num_iters": -1}, "num_iters is -1"),
    ],
)
@pytest.mark.parametrize("function", [sinkhorn, assign_clusters])
def test_sinkhorn_and_assign_clusters_refuse(function, logits, options, message):
    with pytest.raises(ValueError, match=message):
        function(logits, **options)


@pytest.mark.slow
def test_assign_clusters_in_two_processes_equals_one(run_in_two_processes):
    *reports, joined = run_in_two_processes(WORKER)
    assert len(joined) == 8
    for key, alone in joined.items():
        ranks = [report[key] for report in reports]
        assert tuple(len(rank["probs"]) for rank in ranks) == key[0]
        for name in ("probs", "cluster_ids"):
            assert torch.equal(torch.cat([rank[name] for rank in ranks]), alone[name])
        for name in ("counts", "entropy"):
            assert all(torch.equal(rank[name], alone[name]) for rank in ranks)
    assert joined[(3, 8), False]["counts"].sum() == 11


@pytest.mark.parametrize(
    "subcase_id", ["more_masks", "fewer_masks", "equal", "one_mask", "sharp", "one_iteration"]
)
def test_assign_clusters_equals_the_official_one(parity, subcase_id):
    subcase = parity("pixelclip_sinkhorn").subcases[subcase_id]
    options = {"num_iters": subcase.args["n_iters"], "official": True}
    assignment = assign_clusters(subcase.inputs["logits"], **options)
    subcase.check("q", assignment.probs)
    if subcase.args.get("hard", True):
        subcase.check("assignment", assignment.cluster_ids)


def test_sinkhorn_is_finite_if_the_official_one_is_nan(parity):
    subcase = parity("pixelclip_sinkhorn").subcases["dead_cluster"]
    assert subcase.outputs["q"].isnan().any()
    logits = subcase.inputs["logits"]
    found = sinkhorn(logits, num_iters=3, official=True)
    expected = by_loops(logits, 1.0, 3, official=True)  # in float64 nothing underflows
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-4)
