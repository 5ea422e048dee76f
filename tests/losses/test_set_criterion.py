"""The loss of a set: the official numbers, worked values, loops, and what a joined batch has."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.losses import Match, SetCriterion, dice_loss, focal_loss
from ovseg_d2.nets import HungarianMatcher

WORKER = Path(__file__).with_name("set_criterion_worker.py")


def given(*matches: tuple[list[int], list[int]]) -> Callable[..., list[Match]]:
    """A matcher that always says the same."""
    pairs = [(torch.tensor(q).long(), torch.tensor(n).long()) for q, n in matches]
    return lambda *_: pairs


# --- the official numbers ---


@pytest.mark.parametrize("subcase_id", ["basic", "different_sizes", "no_object_weight_0"])
def test_equals_the_official_code(parity: Callable[[str], Any], subcase_id: str) -> None:
    call = parity("maskformer_criterion").subcases[subcase_id]
    about, weights = call.args, call.args["loss_weights"]
    matcher = HungarianMatcher(about["cost_class"], about["cost_mask"], about["cost_dice"])
    gt_ids, gt_masks = call.inputs.list("labels"), call.inputs.list("masks")
    logits = call.inputs["pred_logits"].requires_grad_()
    masks = call.inputs["pred_masks"].requires_grad_()
    predictions = [
        (call.inputs[f"aux.{i}.pred_logits"], call.inputs[f"aux.{i}.pred_masks"])
        for i in range(about["aux"])
    ]
    predictions.append((logits, masks))

    for number, (queries, objects) in enumerate(matcher(logits, masks, gt_ids, gt_masks)):
        call.check(f"match.{number}.prediction", queries)
        call.check(f"match.{number}.target", objects)
    criterion = SetCriterion(
        matcher=matcher,
        no_object_weight=about["no_object_weight"],
        class_weight=weights["loss_ce"],
        mask_weight=weights["loss_mask"],
        dice_weight=weights["loss_dice"],
    )
    losses = criterion(predictions, gt_ids, gt_masks)
    assert len(losses) == 3 * len(predictions)
    for name, loss in losses.items():
        call.check(name, (loss / weights["_".join(name.split("_")[:2])])[None])
    sum(losses[name] for name in weights).backward()
    call.check("grad_pred_logits", logits.grad)
    call.check("grad_pred_masks", masks.grad)


# --- by hand and by loops ---


def test_worked_value():
    """Two proposals, one object of the only class; odds are 3 to 1 for what each has to be."""
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, math.log(3)]]])
    # Half sure of both pixels of the object, and of one that is not.
    masks = torch.zeros(1, 2, 1, 3)
    truth = torch.tensor([[[True, True, False]]])
    losses = SetCriterion(matcher=given(([0], [0])))(
        [(logits, masks)], [torch.tensor([0])], [truth]
    )
    assert losses["loss_ce"].item() == pytest.approx(math.log(4 / 3))
    # (2 * .25 + .75) / 4 * ln 2 over three pixels, times 20.
    assert losses["loss_mask"].item() == pytest.approx(20 * 1.25 / 4 * math.log(2) / 3)
    assert losses["loss_dice"].item() == pytest.approx(1 - (2 * 1 + 1) / (1.5 + 2 + 1))


def test_equals_loops():
    """Two layers, matched differently; one image is full, the other has more proposals."""
    weights = {"no_object_weight": 0.3, "class_weight": 2.0, "mask_weight": 5.0, "dice_weight": 3.0}
    layers = [(torch.randn(2, 3, 5), torch.randn(2, 3, 4, 4)) for _ in range(2)]
    ids = [torch.tensor([1, 3, 0]), torch.tensor([2])]
    truth = [torch.rand(3, 4, 4) > 0.5, torch.rand(1, 4, 4) > 0.5]
    matches = [[{0: 2, 1: 0, 2: 1}, {1: 0}], [{0: 0, 1: 1, 2: 2}, {2: 0}]]
    answers = iter(matches)

    def matcher(*_: Any) -> list[Match]:
        return [(torch.tensor(list(m)), torch.tensor(list(m.values()))) for m in next(answers)]

    losses = SetCriterion(matcher=matcher, **weights)(layers, ids, truth)
    for suffix, (logits, masks), match in zip(("_0", ""), layers, matches, strict=True):
        entropy = total = by_mask = by_dice = 0.0
        for image in range(2):
            for query in range(3):
                result = match[image].get(query)
                wanted = 4 if result is None else int(ids[image][result])
                weight = 0.3 if result is None else 1.0
                row = logits[image, query]
                entropy += weight * (row.logsumexp(0) - row[wanted]).item()
                total += weight
                if result is not None:
                    pair = masks[image, query].view(1, -1), truth[image][result].view(1, -1)
                    by_mask += focal_loss(*pair).item() / 4
                    by_dice += dice_loss(*pair).item() / 4
        assert losses[f"loss_ce{suffix}"].item() == pytest.approx(2 * entropy / total, rel=1e-5)
        assert losses[f"loss_mask{suffix}"].item() == pytest.approx(5 * by_mask, rel=1e-5)
        assert losses[f"loss_dice{suffix}"].item() == pytest.approx(3 * by_dice, rel=1e-5)


def test_masks_are_compared_at_their_size():
    masks = torch.randn(1, 1, 3, 4)
    truth = torch.rand(1, 9, 16) > 0.5
    losses = SetCriterion(matcher=given(([0], [0])), mask_weight=1.0)(
        [(torch.zeros(1, 1, 2), masks)], [torch.tensor([0])], [truth]
    )
    fine = F.interpolate(masks, (9, 16), mode="bilinear", align_corners=False)[0]
    expected = focal_loss(fine.flatten(1), truth.flatten(1)).item()
    assert losses["loss_mask"].item() == pytest.approx(expected)


# --- few and many objects ---


@pytest.mark.parametrize("no_object_weight", [0.1, 0.0])
def test_no_object_anywhere(no_object_weight):
    logits = torch.randn(2, 4, 6, requires_grad=True)
    masks = torch.randn(2, 4, 3, 3, requires_grad=True)
    criterion = SetCriterion(matcher=HungarianMatcher(), no_object_weight=no_object_weight)
    losses = criterion(
        [(logits, masks)], [torch.zeros(0).long()] * 2, [torch.zeros(0, 5, 5) > 0] * 2
    )
    expected = -logits.log_softmax(-1)[..., 5].mean().item() if no_object_weight else 0
    assert losses["loss_ce"].item() == pytest.approx(expected)
    assert losses["loss_mask"].item() == losses["loss_dice"].item() == 0
    sum(losses.values()).backward()
    assert torch.equal(masks.grad, torch.zeros_like(masks))
    assert logits.grad.any() == (no_object_weight > 0)


def test_more_objects_than_proposals():
    """All proposals have one; sums over two masks are divided by the five that there are."""
    logits, masks = torch.randn(1, 2, 4), torch.randn(1, 2, 3, 3)
    ids, truth = torch.tensor([0, 1, 2, 0, 1]), torch.rand(5, 3, 3) > 0.5
    losses = SetCriterion(matcher=given(([0, 1], [4, 2])))([(logits, masks)], [ids], [truth])
    entropies = -logits[0].log_softmax(-1)[[0, 1], ids[[4, 2]]]
    assert losses["loss_ce"].item() == pytest.approx(entropies.mean().item())
    expected_dice = dice_loss(masks[0].flatten(1), truth[[4, 2]].flatten(1)).sum().item()
    assert losses["loss_dice"].item() == pytest.approx(expected_dice / 5)


def test_half_precision_is_computed_in_float32():
    logits, masks = torch.randn(1, 3, 4).half(), 50 * torch.randn(1, 3, 8, 8).half()
    arguments = [torch.tensor([1])], [torch.rand(1, 8, 8) > 0.5]
    criterion = SetCriterion(matcher=HungarianMatcher())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = criterion([(logits, masks)], *arguments)
    expected = criterion([(logits.float(), masks.float())], *arguments)
    for name, loss in result.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-6)


# --- several processes ---


@pytest.mark.slow
def test_set_criterion_in_two_processes_equals_one(run_in_two_processes):
    *reports, joined = run_in_two_processes(WORKER)
    for name, expected in joined.items():
        assert expected[1].any()
        assert expected[2].any() == (name != "nowhere")
        for report in reports:
            for result, wanted in zip(report[name], expected, strict=True):
                torch.testing.assert_close(result, wanted, rtol=1e-5, atol=1e-6)


# --- what it refuses ---


@pytest.mark.parametrize(
    ("ids", "masks", "words"),
    [
        ([[0]], [1], "1 gt_ids and 1 gt_masks for 2 images"),
        ([[0], [1, 2]], [1, 1], r"gt_ids \(2,\) and gt_masks \(1, 4, 4\)"),
        ([[0], [3]], [1, 1], r"hold \[3\], and there are 3 classes"),
        ([[-1, 2], []], [2, 0], r"hold \[-1, 2\].*leave ignored regions out"),
    ],
)
def test_refuses_objects(ids, masks, words):
    criterion = SetCriterion(matcher=HungarianMatcher())
    predictions = [(torch.zeros(2, 5, 4), torch.zeros(2, 5, 4, 4))]
    gt_ids = [torch.tensor(row).long() for row in ids]
    with pytest.raises(ValueError, match=words):
        criterion(predictions, gt_ids, [torch.zeros(count, 4, 4) > 0 for count in masks])


def test_refuses_negative_weights():
    with pytest.raises(ValueError, match="are -0.1, 1.0, 20.0, 1.0; give numbers of at least 0"):
        SetCriterion(matcher=HungarianMatcher(), no_object_weight=-0.1)


def test_ignored_pixels_have_no_loss_and_no_gradient():
    class_logits, ids = torch.randn(2, 3, 4), [torch.tensor([1, 2]), torch.tensor([0])]
    mask_logits = torch.randn(2, 3, 4, 6, requires_grad=True)
    gt_masks = [torch.rand(2, 4, 6) > 0.5, torch.rand(1, 4, 6) > 0.5]
    ignored = [torch.zeros(4, 6, dtype=torch.bool) for _ in range(2)]
    for each in ignored:
        each[:, 4:] = True
    criterion = SetCriterion(matcher=HungarianMatcher())
    losses = criterion([(class_logits, mask_logits)], ids, gt_masks, ignored)
    cut = [masks[..., :4] for masks in gt_masks]
    expected = criterion([(class_logits, mask_logits[..., :4])], ids, cut)
    torch.testing.assert_close(losses, expected)
    sum(losses.values()).backward()
    assert mask_logits.grad[..., :4].any() and not mask_logits.grad[..., 4:].any()
    with pytest.raises(ValueError, match=r"ignored pixels are of .*\(4, 4\).*of its masks' size"):
        criterion(
            [(class_logits, mask_logits)], ids, gt_masks, [pixels[:, :4] for pixels in ignored]
        )
