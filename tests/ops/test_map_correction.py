"""Map correction against loops over masks and pixels."""

import pytest
import torch

from ovseg_d2.ops import (
    MapCorrection,
    correct_labels,
    correct_scores,
    mask_owners,
    mask_scores,
)


def _owners_by_loops(masks: torch.Tensor) -> torch.Tensor:
    owners = torch.full(masks.shape[1:], -1)
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            covering = [q for q in range(len(masks)) if masks[q, y, x]]
            if covering:
                owners[y, x] = max(covering, key=lambda q: (int(masks[q].sum()), q))
    return owners


def _random_masks() -> torch.Tensor:
    masks = torch.rand(6, 9, 11) < torch.tensor([0.1, 0.5, 0.02, 0.3, 0.1, 0.0])[:, None, None]
    masks[:, :2] = False  # rows without masks
    return masks


def test_mask_owners_are_the_largest_masks() -> None:
    masks = _random_masks()
    owners = mask_owners(masks)
    assert torch.equal(owners, _owners_by_loops(masks))
    assert (owners[:2] == -1).all()
    # Of two of one area the last one.
    assert mask_owners(torch.ones(2, 1, 1, dtype=torch.bool)).item() == 1
    assert torch.equal(mask_owners(masks[:0]), torch.full((9, 11), -1))


@pytest.mark.parametrize("rule", ["mode", "mean"])
def test_correct_scores_equals_loops(rule) -> None:
    owners = mask_owners(_random_masks())
    scores = torch.randn(4, 9, 11)
    corrected = correct_scores(scores, MapCorrection(owners, rule))
    labels = scores.argmax(dim=0)
    assert torch.equal(corrected[:, owners < 0], scores[:, owners < 0])
    changed = False
    for mask in owners[owners >= 0].unique():
        inside = owners == mask
        means = scores[:, inside].mean(dim=1)
        votes = [(int((labels[inside] == k).sum()), float(means[k])) for k in range(4)]
        rows = corrected[:, inside]
        assert (rows == rows[:, :1]).all()
        order = rows[:, 0].argsort(descending=True).tolist()
        if rule == "mean":
            torch.testing.assert_close(rows[:, 0], means)
        else:
            # The numbers of the means, in the order of the votes.
            assert order == sorted(range(4), key=lambda k: votes[k], reverse=True)
            torch.testing.assert_close(rows[:, 0].sort().values, means.sort().values)
            assert votes[order[0]][0] == torch.bincount(labels[inside]).max()
        changed |= bool((labels[inside] != order[0]).any())
    assert changed


@pytest.mark.parametrize("rule", ["mode", "mean"])
def test_correct_labels_of_bands_is_the_argmax_of_corrected_scores(rule) -> None:
    correction = MapCorrection(mask_owners(_random_masks()), rule)
    scores = torch.randn(4, 9, 11)
    votes, sums = 0, 0
    for rows in (slice(0, 4), slice(4, 5), slice(5, 9)):
        more = mask_scores(scores[:, rows], correction.owners[rows], correction.num_masks)
        votes, sums = votes + more[0], sums + more[1]
    labels = correct_labels(scores.argmax(dim=0), votes, sums, correction)
    assert torch.equal(labels, correct_scores(scores, correction).argmax(dim=0))
    assert (labels != scores.argmax(dim=0)).any()


def test_rules_worked_by_hand() -> None:
    # Class 0 wins two of three pixels narrowly, class 1 one clearly.
    scores = torch.tensor([[[0.5, 0.5, 0.0, 0.1]], [[0.4, 0.4, 1.0, 0.2]]])
    owners = torch.tensor([[0, 0, 0, -1]])
    mode = correct_scores(scores, MapCorrection(owners, "mode"))
    mean = correct_scores(scores, MapCorrection(owners, "mean"))
    assert mode.argmax(dim=0).tolist() == [[0, 0, 0, 1]]
    assert mean.argmax(dim=0).tolist() == [[1, 1, 1, 1]]
    torch.testing.assert_close(mean[:, 0, 0], torch.tensor([1 / 3, 0.6]))
    torch.testing.assert_close(mode[:, 0, 0], torch.tensor([0.6, 1 / 3]))


def test_no_masks_change_nothing() -> None:
    correction = MapCorrection(torch.full((3, 4), -1))
    scores = torch.randn(2, 3, 4)
    assert torch.equal(correct_scores(scores, correction), scores)
    votes, sums = mask_scores(scores, correction.owners, correction.num_masks)
    labels = scores.argmax(dim=0)
    assert torch.equal(correct_labels(labels, votes, sums, correction), labels)


def test_correct_scores_keeps_half_precision() -> None:
    owners = torch.zeros(40, 40, dtype=torch.int64)
    scores = (0.5 + 0.01 * torch.randn(2, 40, 40)).bfloat16()
    corrected = correct_scores(scores, MapCorrection(owners, "mean"))
    assert corrected.dtype == torch.bfloat16
    expected = scores.double().flatten(1).mean(dim=1)
    torch.testing.assert_close(corrected[:, 0, 0].double(), expected, rtol=0, atol=2e-3)


def test_refuses_bad_values() -> None:
    with pytest.raises(ValueError, match="rule is 'median'; choose one of"):
        MapCorrection(torch.zeros(2, 2, dtype=torch.int64), "median")
    with pytest.raises(ValueError, match=r"give \(H, W\) of int64"):
        MapCorrection(torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"give \(Q, H, W\) of bool"):
        mask_owners(torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="resize the masks to the size of the result"):
        correct_scores(torch.zeros(2, 3, 3), MapCorrection(torch.zeros(2, 2, dtype=torch.int64)))
