"""`kmeans`: worked values, all partitions and plain numpy."""

import itertools

import numpy as np
import pytest
import torch

from ovseg_d2.ops import kmeans


def blobs(num_sets: int, num_points: int, centers: list[list[float]], spread: float = 0.1):
    """Return points around centres, and the index of their centre."""
    ids = torch.arange(num_points).repeat(num_sets, 1) % len(centers)
    return torch.tensor(centers)[ids] + spread * torch.randn(num_sets, num_points, 2), ids


def test_kmeans_worked_by_hand():
    points = torch.tensor([[[0.0], [1.0], [10.0], [12.0], [14.0]]])
    for seed in range(5):
        ids, centers, inertia = kmeans(points, 2, seed=seed)
        assert sorted(centers.flatten().tolist()) == [0.5, 12.0]
        assert inertia.item() == pytest.approx(0.25 + 0.25 + 4 + 4)
        assert (ids[0] == ids[0, 0]).tolist() == [True, True, False, False, False]


def test_kmeans_reaches_the_best_of_all_partitions():
    points = torch.randn(2, 7, 2, dtype=torch.float64)
    best = np.full(2, np.inf)
    for labels in itertools.product(range(3), repeat=7):
        cost = np.zeros(2)
        for k in set(labels):
            part = points.numpy()[:, np.array(labels) == k]
            cost += ((part - part.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2))
        best = np.minimum(best, cost)
    inertias = np.stack([kmeans(points, 3, seed=seed).inertia.numpy() for seed in range(20)])
    assert (inertias >= best - 1e-9).all()
    np.testing.assert_allclose(inertias.min(axis=0), best)


def test_kmeans_is_a_fixed_point_of_lloyds_iteration():
    points = torch.randn(2, 200, 5)
    ids, centers, inertia = kmeans(points, 7)
    for b in range(2):
        p, c = points[b].double().numpy(), centers[b].double().numpy()
        distances = ((p[:, None] - c[None]) ** 2).sum(2)
        assert np.array_equal(distances.argmin(1), ids[b].numpy())
        assert inertia[b].item() == pytest.approx(distances.min(1).sum(), rel=1e-4)
        for k in range(7):
            np.testing.assert_allclose(c[k], p[ids[b].numpy() == k].mean(0), atol=1e-5)


def test_kmeans_separates_blobs():
    points, truth = blobs(3, 60, [[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    ids = kmeans(points, 4).ids
    for b in range(3):
        pairs = set(zip(ids[b].tolist(), truth[b].tolist(), strict=True))
        assert len(pairs) == 4


def test_kmeans_starts_from_far_points():
    # A uniform start would miss the points at 100 and 200 among 1000 points at 0.
    points = torch.zeros(1, 1002, 1)
    points[0, -2:, 0] = torch.tensor([100.0, 200.0])
    for seed in range(20):
        assert kmeans(points, 3, seed=seed).inertia.item() == pytest.approx(0, abs=1e-3)


def test_kmeans_is_independent_of_the_batch():
    points = torch.randn(4, 50, 3)
    together = kmeans(points, 5, seed=3)
    for b in range(4):
        alone = kmeans(points[b : b + 1], 5, seed=3)
        assert torch.equal(alone.ids[0], together.ids[b])
        torch.testing.assert_close(alone.centers[0], together.centers[b])


def test_kmeans_depends_on_its_seed_only():
    points = torch.rand(1, 300, 2)
    first = kmeans(points, 12, seed=1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert torch.equal(kmeans(points, 12, seed=1).ids, first.ids)
    assert torch.equal(torch.get_rng_state(), state)
    assert any(not torch.equal(kmeans(points, 12, seed=s).ids, first.ids) for s in range(2, 6))


def test_kmeans_with_more_clusters_than_distinct_points():
    points = torch.tensor([[[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]])
    ids, centers, inertia = kmeans(points, 5)
    assert ids[0, 0] == ids[0, 1] != ids[0, 2]
    assert centers.shape == (1, 5, 2)
    assert torch.isfinite(centers).all()
    assert inertia.item() == 0
    assert kmeans(torch.ones(1, 1, 4), 1).ids.tolist() == [[0]]


def test_kmeans_far_from_the_origin():
    points, _ = blobs(1, 40, [[0.0, 0.0], [1.0, 1.0]], spread=0.05)
    assert torch.equal(kmeans(points + 3000, 2).ids, kmeans(points, 2).ids)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_kmeans_dtypes(dtype):
    points, _ = blobs(2, 30, [[0.0, 0.0], [4.0, 4.0]])
    result = kmeans(points.to(dtype), 2)
    assert torch.equal(result.ids, kmeans(points, 2).ids)
    assert result.centers.dtype == (dtype if dtype == torch.float64 else torch.float32)


def test_kmeans_without_sets():
    assert kmeans(torch.zeros(0, 5, 2), 3).ids.shape == (0, 5)


@pytest.mark.parametrize(
    ("points", "options", "words"),
    [
        (torch.zeros(5, 2), {"num_clusters": 2}, r"points are \(5, 2\) of torch.float32; give"),
        (torch.zeros(1, 0, 2), {"num_clusters": 2}, "with N at least 1"),
        (torch.zeros(1, 5, 2).long(), {"num_clusters": 2}, "floating"),
        (torch.zeros(1, 5, 2), {"num_clusters": 0}, "num_clusters=0 .* give at least 1"),
        (torch.zeros(1, 5, 2), {"num_clusters": 1, "max_iters": 0}, "give at least 1"),
    ],
)
def test_kmeans_refuses(points, options, words):
    with pytest.raises(ValueError, match=words):
        kmeans(points, **options)
