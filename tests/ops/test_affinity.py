"""Affinities, outliers and their replacement against loops over locations."""

import math

import numpy as np
import pytest
import torch

from ovseg_d2.ops import (
    affinity,
    find_outliers,
    local_outlier_factors,
    mix_by_affinity,
    mix_by_cosines,
    outliers,
    replace_by_neighbours,
)


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b) -> float:
    return float(a @ b / math.sqrt(float(a @ a) * float(b @ b)))


def slow_mix(feats, values, weigh):
    """Mix values (N, V) by ``weigh(cosines of a row, mean of all cosines, own number)``."""
    count = len(feats)
    cosines = [[cosine(a, b) for b in feats] for a in feats]
    mean = sum(map(sum, cosines)) / count**2
    rows = []
    for i, row in enumerate(cosines):
        weights = weigh(row, mean, i)
        rows.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return torch.stack(rows)


@pytest.mark.parametrize("at_once", [1, 40, 10_000])
@pytest.mark.parametrize(("mean_weight", "scale"), [(1.2, 3.0), (1.0, 10.0), (4.0, 2.0)])
def test_mix_by_affinity_equals_loops(monkeypatch, at_once, mean_weight, scale):
    monkeypatch.setattr(affinity, "_COSINES_AT_ONCE", at_once)
    feats, values = draw(0, 2, 9, 4) + 0.7, draw(1, 2, 9, 3)

    def weigh(row, mean, i):
        logits = [scale * (c - mean_weight * mean) for c in row]
        return [math.exp(x) if x >= 0 or j == i else 0.0 for j, x in enumerate(logits)]

    mixed = mix_by_affinity(feats, values, mean_weight=mean_weight, scale=scale)
    for image in range(2):
        torch.testing.assert_close(mixed[image], slow_mix(feats[image], values[image], weigh))


@pytest.mark.parametrize("at_once", [1, 40, 10_000])
def test_mix_by_cosines_equals_loops(monkeypatch, at_once):
    monkeypatch.setattr(affinity, "_COSINES_AT_ONCE", at_once)
    feats, values = draw(0, 2, 9, 4) + 0.7, draw(1, 2, 9, 3)
    mixed = mix_by_cosines(feats, values, threshold=0.4)
    for image in range(2):
        expected = slow_mix(
            feats[image], values[image], lambda row, *_: [c if c >= 0.4 else 0.0 for c in row]
        )
        torch.testing.assert_close(mixed[image], expected)
    torch.testing.assert_close(mix_by_cosines(feats, values, threshold=1.0), values)


@pytest.mark.parametrize("threshold", [0.0, 1.1, float("nan")])
def test_mix_by_cosines_refuses_thresholds(threshold):
    with pytest.raises(ValueError, match="threshold=.*; give the smallest cosine"):
        mix_by_cosines(draw(0, 1, 3, 2), draw(0, 1, 3, 2), threshold=threshold)


def slow_factors(points, neighbours):
    points = points.numpy()
    squared = [[float(((a - b) ** 2).sum()) for b in points] for a in points]
    nearest = [sorted((d, j) for j, d in enumerate(row) if j != i) for i, row in enumerate(squared)]
    reach = [row[neighbours - 1][0] for row in nearest]
    return [
        np.mean([reach[i] / reach[j] for _, j in row[:neighbours]]) for i, row in enumerate(nearest)
    ]


@pytest.mark.parametrize("at_once", [1, 100, 10_000])
@pytest.mark.parametrize("neighbours", [1, 4, 19])
def test_local_outlier_factors_equal_loops(monkeypatch, at_once, neighbours):
    monkeypatch.setattr(outliers, "_DISTANCES_AT_ONCE", at_once)
    points = draw(3, 20, 5)
    expected = torch.tensor(slow_factors(points, neighbours), dtype=torch.float64)
    torch.testing.assert_close(local_outlier_factors(points, neighbours), expected)


def test_local_outlier_factors_of_few_or_equal_points_are_one():
    assert local_outlier_factors(torch.zeros(1, 3)).tolist() == [1.0]
    assert local_outlier_factors(torch.ones(5, 3)).tolist() == [1.0] * 5
    torch.testing.assert_close(local_outlier_factors(draw(0, 2, 3)), torch.ones(2).double())


def test_find_outliers_marks_the_far_points_of_each_image():
    feats = draw(5, 2, 40, 6) * 0.1
    feats[0, 7] += 50
    feats[1, [3, 30]] += torch.tensor([[40.0], [-60.0]], dtype=torch.float64)
    marked = find_outliers(feats, share=0.05, neighbours=10)
    assert marked[0, 7] and marked[1, 3] and marked[1, 30]
    assert marked.sum(dim=1).tolist() == [2, 2]
    with pytest.raises(ValueError, match="share=1.0, neighbours=30; give a share"):
        find_outliers(feats, share=1.0)
    with pytest.raises(ValueError, match="at least 1 neighbour"):
        find_outliers(feats, neighbours=0)


def test_replace_by_neighbours_equals_loops():
    feats, grid = draw(2, 2, 20, 3), (4, 5)
    replaced = torch.rand(2, 20, generator=torch.Generator().manual_seed(1)) < 0.5
    replaced[0, [0, 1, 5, 6]] = True  # the corner has no neighbour left
    out = replace_by_neighbours(feats, replaced, grid)
    for image in range(2):
        for i in range(20):
            row, column = divmod(i, 5)
            near = [
                feats[image, 5 * r + c]
                for r in range(max(row - 1, 0), min(row + 2, 4))
                for c in range(max(column - 1, 0), min(column + 2, 5))
                if (r, c) != (row, column) and not replaced[image, 5 * r + c]
            ]
            kept = not near or not replaced[image, i]
            expected = feats[image, i] if kept else torch.stack(near).mean(dim=0)
            torch.testing.assert_close(out[image, i], expected)
    assert torch.equal(out[0, 0], feats[0, 0])
