"""Focal and dice loss against worked values and loops; all pairs against the pairs."""

import math

import pytest
import torch

from ovseg_d2.losses import dice_loss, focal_loss, pairwise_dice_loss, pairwise_focal_loss


def test_focal_worked_value():
    """Probability 3/4 inside and 1/4 outside: weights .25 and .75 times the error's square."""
    logits = torch.tensor([[math.log(3), -math.log(3)]])
    expected = (0.25 + 0.75) * 0.25**2 * math.log(4 / 3) / 2
    loss = focal_loss(logits, torch.tensor([[True, False]]))
    assert loss.tolist() == pytest.approx([expected], rel=1e-5)


def test_focal_with_gamma_0_is_cross_entropy():
    logits, truth = torch.randn(3, 7), torch.rand(3, 7) > 0.5
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, truth.float(), reduction="none"
    ).mean(dim=1)
    torch.testing.assert_close(focal_loss(logits, truth, alpha=0.5, gamma=0.0), expected / 2)


def test_dice_worked_value():
    """Halves at two pixels, one of them inside: 1 - (2 * 1/2 + 1) / (1 + 1 + 1)."""
    loss = dice_loss(torch.zeros(1, 2), torch.tensor([[True, False]]))
    assert loss.tolist() == pytest.approx([1 / 3])


@pytest.mark.parametrize(("logit", "inside", "expected"), [(99.0, 9, 0), (-99.0, 0, 0)])
def test_dice_of_right_masks_is_0(logit, inside, expected):
    truth = torch.arange(9)[None] < inside
    assert dice_loss(torch.full((1, 9), logit), truth).item() == expected


def focal_by_loops(logits, truth, alpha, gamma):
    total = 0.0
    for logit, inside in zip(logits.tolist(), truth.tolist(), strict=True):
        prob = 1 / (1 + math.exp(-logit))
        right = prob if inside else 1 - prob
        total -= (alpha if inside else 1 - alpha) * (1 - right) ** gamma * math.log(right)
    return total / len(logits)


def dice_by_loops(logits, truth):
    probs = [1 / (1 + math.exp(-logit)) for logit in logits.tolist()]
    inside = [float(pixel) for pixel in truth.tolist()]
    overlap = sum(p * g for p, g in zip(probs, inside, strict=True))
    return 1 - (2 * overlap + 1) / (sum(probs) + sum(inside) + 1)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 1.5)])
def test_pairwise_losses_equal_loops(alpha, gamma):
    logits, truth = 3 * torch.randn(4, 11), torch.rand(3, 11) > 0.6
    focal = pairwise_focal_loss(logits, truth, alpha=alpha, gamma=gamma)
    dice = pairwise_dice_loss(logits, truth)
    assert focal.shape == dice.shape == (4, 3)
    for q in range(4):
        for n in range(3):
            expected = focal_by_loops(logits[q], truth[n], alpha, gamma)
            assert focal[q, n].item() == pytest.approx(expected, rel=1e-4)
            single = focal_loss(logits[[q]], truth[[n]], alpha=alpha, gamma=gamma)
            assert single.item() == pytest.approx(expected, rel=1e-4)
            expected = dice_by_loops(logits[q], truth[n])
            assert dice[q, n].item() == pytest.approx(expected, rel=1e-4)
            assert dice_loss(logits[[q]], truth[[n]]).item() == pytest.approx(expected, rel=1e-4)


def test_large_logits_give_finite_float32():
    logits = torch.tensor([[200.0, -200.0]], dtype=torch.float16)
    for truth in ([[1.0, 0.0]], [[0.0, 1.0]]):
        for loss in (focal_loss, dice_loss, pairwise_focal_loss, pairwise_dice_loss):
            value = loss(logits, torch.tensor(truth))
            assert value.dtype == torch.float32
            assert value.isfinite().all()
    assert focal_loss(logits, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(100)


def test_losses_without_masks():
    nothing, masks = torch.zeros(0, 5, requires_grad=True), torch.zeros(3, 5)
    assert focal_loss(nothing, nothing).shape == dice_loss(nothing, nothing).shape == (0,)
    assert pairwise_focal_loss(masks, nothing).shape == (3, 0)
    assert pairwise_dice_loss(masks, nothing).shape == (3, 0)


@pytest.mark.parametrize("loss", [focal_loss, dice_loss, pairwise_focal_loss, pairwise_dice_loss])
@pytest.mark.parametrize("shapes", [((2, 4), (2, 5)), ((2, 0), (2, 0)), ((4,), (4,))])
def test_refuses_shapes(loss, shapes):
    with pytest.raises(ValueError, match="resize them to one size"):
        loss(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_counted_equals_cut_out_pixels():
    logits, truth = torch.randn(4, 12), torch.rand(4, 12) > 0.5
    counted = torch.rand(12) > 0.4
    kept = logits[:, counted], truth[:, counted]
    rows = counted.expand(4, -1)
    torch.testing.assert_close(focal_loss(logits, truth, rows), focal_loss(*kept))
    torch.testing.assert_close(dice_loss(logits, truth, rows), dice_loss(*kept))
    for pairwise in (pairwise_focal_loss, pairwise_dice_loss):
        torch.testing.assert_close(
            pairwise(logits, truth[:3], counted), pairwise(kept[0], kept[1][:3])
        )
    none = torch.zeros(4, 12, dtype=torch.bool)
    assert (
        focal_loss(logits, truth, none).tolist()
        == dice_loss(logits, truth, none).tolist()
        == [0] * 4
    )
