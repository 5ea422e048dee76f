"""Forgiving confusion matrices: counts by hand, and one pixel at a time."""

import numpy as np
import pytest
import torch

from ovseg_d2.ops import forgive_pixels, forgiving_gains

# Predicted in rows, labelled in columns: building, skyscraper, tree.
COUNTS = torch.tensor([[50, 10, 5], [30, 20, 0], [0, 0, 40]])
HYPONYM = torch.tensor([[False, False, False], [True, False, False], [False, False, False]])


def mean_iou(counts: torch.Tensor) -> float:
    table = counts.double().numpy()
    hits, labelled = np.diag(table), table.sum(0)
    union = labelled + table.sum(1) - hits
    return float(np.mean([hits[k] / union[k] for k in range(len(table)) if labelled[k]]))


def test_forgive_pixels_by_hand() -> None:
    forgiven = forgive_pixels(COUNTS, HYPONYM)
    # The 30 skyscrapers on buildings are buildings; the 10 buildings on skyscrapers stay wrong.
    assert forgiven.tolist() == [[80, 10, 5], [0, 20, 0], [0, 0, 40]]
    assert torch.equal(
        forgive_pixels(COUNTS, HYPONYM | HYPONYM.t()).diagonal(), torch.tensor([80, 30, 40])
    )
    # Before: 50 of 95, 20 of 60, 40 of 45. After: 80 of 95, 20 of 30, 40 of 45.
    assert mean_iou(COUNTS) == pytest.approx((50 / 95 + 20 / 60 + 40 / 45) / 3)
    assert mean_iou(forgiven) == pytest.approx((80 / 95 + 20 / 30 + 40 / 45) / 3)


def test_forgive_pixels_equals_relabelling_each_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, labelled = torch.randint(0, 5, (2, 400), generator=generator)
    relation = torch.rand(5, 5, generator=generator) > 0.6
    counts, expected = torch.zeros(2, 5, 5, dtype=torch.int64)
    for p, t in zip(predicted.tolist(), labelled.tolist(), strict=True):
        counts[p, t] += 1
        expected[t if relation[p, t] else p, t] += 1
    assert torch.equal(forgive_pixels(counts, relation), expected)


def test_forgive_pixels_without_a_relation_changes_nothing() -> None:
    nothing = torch.zeros(3, 3, dtype=torch.bool)
    for relation in (nothing, torch.eye(3, dtype=torch.bool)):
        assert torch.equal(forgive_pixels(COUNTS, relation), COUNTS)
    assert not forgiving_gains(COUNTS, nothing).any()


def test_forgiving_gains_equal_forgiving_each_pair_alone() -> None:
    generator = torch.Generator().manual_seed(1)
    counts = torch.randint(0, 50, (4, 4), generator=generator)
    counts[:, 3] = 0  # predicted and never labelled
    counts[2] = torch.tensor([7, 0, 0, 0])  # never right: without these pixels no union is left
    counts[:, 2] = 0
    relation = torch.ones(4, 4, dtype=torch.bool)
    gains = forgiving_gains(counts, relation)
    for p in range(4):
        for t in range(4):
            alone = torch.zeros(4, 4, dtype=torch.bool)
            alone[p, t] = True
            expected = mean_iou(forgive_pixels(counts, alone)) - mean_iou(counts)
            assert gains[p, t].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("counts", "forgiven"),
    [(COUNTS[:2], HYPONYM[:2]), (COUNTS, HYPONYM[:2]), (COUNTS, HYPONYM.long())],
)
def test_forgive_pixels_refuses_shapes(counts: torch.Tensor, forgiven: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"give \(K, K\) counts, and \(K, K\) bool"):
        forgive_pixels(counts, forgiven)
    with pytest.raises(ValueError, match=r"give \(K, K\) counts"):
        forgiving_gains(counts, forgiven)
