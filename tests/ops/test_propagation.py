"""Label propagation against dense linear algebra and scipy's conjugate gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import cg

from ovseg_d2.ops import Propagation, neighbour_graph, propagate_scores, propagation


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def slow_graph(feats, places, options):
    count = len(feats)
    weights = np.zeros((count, count))
    cosines = np.array(
        [[np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for b in feats] for a in feats]
    )
    for i in range(count):
        for j in np.argsort(-cosines[i])[: options.neighbours]:
            near = np.exp(-options.decay * np.linalg.norm(places[i] - places[j]))
            weights[i, j] = max(cosines[i, j], 0) ** options.exponent * near
    weights = weights + weights.T
    np.fill_diagonal(weights, 0)
    degree = weights.sum(axis=1)
    degree[degree == 0] = 1
    return weights / np.sqrt(degree[:, None] * degree)


@pytest.mark.parametrize("at_once", [1, 50, 10_000])
@pytest.mark.parametrize("neighbours", [1, 5, 100])
def test_graph_equals_loops(monkeypatch, at_once, neighbours):
    monkeypatch.setattr(propagation, "_COSINES_AT_ONCE", at_once)
    feats, places = draw(0, 24, 6), draw(1, 24, 2) * 20
    options = Propagation(neighbours=neighbours, exponent=2.0, decay=0.05)
    graph = neighbour_graph(feats, places, options)
    expected = slow_graph(feats.numpy(), places.numpy(), options)
    torch.testing.assert_close(graph.to_dense(), torch.from_numpy(expected))


def test_many_steps_solve_the_system():
    options = Propagation(neighbours=8, steps=200, alpha=0.9)
    graph = neighbour_graph(draw(0, 24, 6), draw(1, 24, 2), options)
    scores = draw(2, 24, 3)
    scores[:, 2] = 0
    solution = propagate_scores(graph, scores, options)
    matrix = torch.eye(24, dtype=torch.float64) - 0.9 * graph.to_dense()
    torch.testing.assert_close(solution, torch.linalg.solve(matrix, scores), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_steps_are_those_of_scipy(steps):
    options = Propagation(neighbours=8, steps=steps)
    graph = neighbour_graph(draw(0, 24, 6), draw(1, 24, 2), options)
    scores = draw(2, 24, 3)
    solution = propagate_scores(graph, scores, options)
    matrix = identity(24) - 0.95 * csr_matrix(graph.to_dense().numpy())
    for column in range(3):
        expected, _ = cg(matrix, scores[:, column].numpy(), rtol=1e-6, maxiter=steps)
        np.testing.assert_allclose(solution[:, column], expected, rtol=1e-6, atol=1e-8)


def test_equals_the_official_code():
    official = np.load(Path(__file__).parents[1] / "data" / "official_lposs.npz")
    feats, scores = draw(0, 72, 12), draw(1, 72, 4) * 0.1
    rows, columns = np.divmod(np.arange(36), 6)
    places = np.stack([8 + 16 * rows, 8 + 16 * columns], axis=1)
    places = torch.from_numpy(np.concatenate([places, places + [0, 48]]))  # two windows
    for name, options in {
        "default": Propagation(neighbours=40),
        "other": Propagation(alpha=0.5, neighbours=7, exponent=1.0, decay=0.1),
    }.items():
        graph = neighbour_graph(feats.float(), places, options)
        solution = propagate_scores(graph, scores.float(), options)
        torch.testing.assert_close(
            solution, torch.from_numpy(official[name]).float(), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize(
    "values",
    [{"alpha": 1.0}, {"alpha": 0.0}, {"neighbours": 0}, {"steps": 0}, {"exponent": 0.0}]
    + [{"decay": -1.0}, {"tolerance": -1.0}, {"alpha": float("nan")}],
)
def test_impossible_options_are_refused(values):
    with pytest.raises(ValueError, match=f"{next(iter(values))}=.*; give a"):
        Propagation(**values)
