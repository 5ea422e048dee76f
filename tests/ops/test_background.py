"""Background by threshold, by words and by size: worked values, loops and the release."""

import pytest
import torch

from ovseg_d2.ops import (
    Background,
    background_by_threshold,
    filter_small_areas,
    find_background,
    merge_background,
)


def test_background_by_threshold_worked_by_hand() -> None:
    # Classes: thing, background, thing; four pixels.
    probs = torch.tensor(
        [[0.5, 0.30, 0.39, 0.2], [0.1, 0.35, 0.22, 0.4], [0.4, 0.35, 0.39, 0.4]]
    ).reshape(3, 1, 4)
    out = background_by_threshold(probs, 0.4, 1)
    # Pixel 3 reaches the threshold; the lower index wins its tie, before and after.
    assert torch.equal(out.argmax(dim=0), torch.tensor([[0, 1, 1, 1]]))
    assert torch.equal(out[1, 0], torch.tensor([0.1, 0.4, 0.4, 0.4]))
    assert torch.equal(out[[0, 2]], probs[[0, 2]])
    assert torch.equal(background_by_threshold(probs, 0.0, 1), probs)


@pytest.mark.parametrize("background_id", [0, 2])
def test_background_by_threshold_equals_a_loop(background_id: int) -> None:
    probs = torch.randn(2, 5, 6, 7).softmax(dim=1)
    labels = background_by_threshold(probs, 0.45, background_id).argmax(dim=1)
    best, expected = probs.max(dim=1)
    expected[best < 0.45] = background_id
    assert 0 < (best < 0.45).float().mean() < 1
    assert torch.equal(labels, expected)


def test_background_by_threshold_of_each_class_equals_a_loop() -> None:
    probs = torch.rand(2, 4, 6, 5).softmax(dim=1)
    thresholds = torch.tensor([0.9, 0.0, 0.3, 0.32])
    labels = background_by_threshold(probs, thresholds, 0).argmax(dim=1)
    expected = probs.argmax(dim=1)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(6), torch.arange(5)):
        winner = expected[b, y, x]
        if probs[b, winner, y, x] < thresholds[winner]:
            expected[b, y, x] = 0
    assert torch.equal(labels, expected)
    assert {0, 1, 2, 3} == set(labels.unique().tolist())
    assert not torch.equal(labels, probs.argmax(dim=1))
    with pytest.raises(ValueError, match=r"threshold has shape \(3,\) and probs"):
        background_by_threshold(probs, thresholds[:3], 0)


def test_find_background_class_thresholds_replace_the_common_one() -> None:
    probs = torch.rand(4, 6, 5).softmax(dim=0)
    own = torch.tensor([torch.nan, 0.0, torch.nan, 0.35])
    out = find_background(probs, Background(threshold=0.31), [0], None, own)
    expected = background_by_threshold(probs, torch.tensor([0.31, 0.0, 0.31, 0.35]), 0)
    assert torch.equal(out, expected)
    out = find_background(probs, Background(), [0], None, own)
    assert torch.equal(out, background_by_threshold(probs, torch.tensor([0, 0, 0, 0.35]), 0))
    with pytest.raises(ValueError, match="thresholds of single classes need a class"):
        find_background(probs, Background(), [], None, own)


def test_merge_background_worked_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.5], [0.4, -0.2], [0.3, 0.6]]).reshape(3, 1, 2)
    out = merge_background(scores, [2, 0])
    assert torch.equal(out[2, 0], torch.tensor([0.3, 0.6]))
    assert out[0].eq(-torch.inf).all()
    assert torch.equal(out.argmax(dim=0), torch.tensor([[1, 2]]))
    assert merge_background(scores, []) is scores
    assert merge_background(scores, [1]) is scores


def test_merge_background_merges_labels() -> None:
    scores = torch.randn(2, 6, 5, 4)
    labels = merge_background(scores, [1, 4, 5]).argmax(dim=1)
    expected = scores.argmax(dim=1)
    expected[torch.isin(expected, torch.tensor([4, 5]))] = 1
    assert torch.equal(labels, expected)


def test_filter_small_areas_worked_by_hand() -> None:
    # Ten pixels: background wins 4, class 1 wins 5, class 2 wins one: a sixth of the foreground.
    winners = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 2])
    probs = torch.full((3, 1, 10), 0.2)
    probs[winners, 0, torch.arange(10)] = 0.6
    probs[1, 0, 9] = 0.3  # next best where class 2 wins
    assert torch.equal(filter_small_areas(probs, 0.16, 0), probs)
    out = filter_small_areas(probs, 0.17, 0)
    assert torch.equal(out.argmax(dim=0)[0], torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 1]))
    assert out[2].eq(0).all()
    # A class that wins no pixel is dropped too; background always stays.
    alone = filter_small_areas(probs[:, :, 4:9], 0.0, 0)
    assert alone[2].eq(0).all()
    assert torch.equal(alone[:2], probs[:2, :, 4:9])


def test_filter_small_areas_equals_the_release() -> None:
    probs = (3 * torch.randn(3, 6, 9, 8)).softmax(dim=1)
    probs[:, 3] *= 0.4
    out = filter_small_areas(probs, 0.15, 0)
    for b in range(3):
        winners = probs[b].argmax(dim=0)
        areas = [int((winners == k).sum()) for k in range(6)]
        for k in range(6):
            small = k != 0 and not areas[k] > 0.15 * sum(areas[1:])
            assert torch.equal(out[b, k], probs[b, k] * (0 if small else 1))
    assert (out.amax(dim=(2, 3)) == 0).any()


def test_filter_small_areas_of_a_part_of_an_image() -> None:
    probs = torch.randn(4, 12, 9).softmax(dim=0)
    areas = torch.bincount(probs.argmax(dim=0).flatten(), minlength=4)
    parts = [filter_small_areas(part, 0.3, 1, areas) for part in probs.split(5, dim=1)]
    assert torch.equal(torch.cat(parts, dim=1), filter_small_areas(probs, 0.3, 1))


def test_filter_small_areas_keeps_merged_background() -> None:
    probs = merge_background(torch.randn(5, 4, 4).softmax(dim=0), [0, 3])
    out = filter_small_areas(probs, 0.1, 0)
    assert not out.isnan().any()
    assert out[3].eq(-torch.inf).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda probs, k: background_by_threshold(probs, 0.5, k),
        lambda probs, k: merge_background(probs, [0, k]),
        lambda probs, k: filter_small_areas(probs, 0.5, k),
    ],
)
def test_background_functions_refuse_probs_and_ids(call) -> None:
    with pytest.raises(ValueError, match="background class 3 is not one of the 3 classes"):
        call(torch.zeros(3, 2, 2), 3)
    with pytest.raises(ValueError, match="background class -1"):
        call(torch.zeros(3, 2, 2), -1)
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        call(torch.zeros(2, 2), 1)
    with pytest.raises(ValueError, match=r"torch\.int64"):
        call(torch.zeros(3, 2, 2, dtype=torch.long), 1)


def test_filter_small_areas_refuses() -> None:
    with pytest.raises(ValueError, match="min_share is 2"):
        filter_small_areas(torch.zeros(3, 2, 2), 2, 0)
    with pytest.raises(ValueError, match="one number per class"):
        filter_small_areas(torch.zeros(3, 2, 2), 0.5, 0, torch.zeros(4))


def test_find_background_merges_then_filters_then_thresholds() -> None:
    probs = torch.randn(4, 8, 8).softmax(dim=0)
    out = find_background(probs, Background(0.5, 0.4), [1, 3])
    steps = filter_small_areas(merge_background(probs, [1, 3]), 0.4, 1)
    assert torch.equal(out, background_by_threshold(steps, 0.5, 1))
    assert not torch.equal(out, background_by_threshold(probs, 0.5, 1))
    assert find_background(probs, Background(), []) is probs


def test_find_background_refuses() -> None:
    with pytest.raises(ValueError, match="background_ids is empty; add a background class"):
        find_background(torch.zeros(2, 3, 3), Background(min_share=0.1), [])
    with pytest.raises(ValueError, match="threshold is 1.5"):
        Background(threshold=1.5)
    with pytest.raises(ValueError, match="min_share is -1"):
        Background(min_share=-1)
