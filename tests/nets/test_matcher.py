"""Matching against all permutations there are, and where there is little to match."""

import itertools
import math

import pytest
import torch

from ovseg_d2.losses import dice_loss, focal_loss
from ovseg_d2.nets import HungarianMatcher


def image(num_queries, num_objects, num_classes=3, size=(4, 5), gt_size=None):
    """Class logits, mask logits, ids and masks of one image."""
    gt_size = gt_size or size
    return (
        torch.randn(num_queries, num_classes + 1),
        torch.randn(num_queries, *size),
        torch.randint(num_classes, (num_objects,)),
        torch.rand(num_objects, *gt_size) > 0.5,
    )


def batch(*images):
    """What the matcher takes."""
    logits, masks, ids, gt_masks = zip(*images, strict=True)
    return torch.stack(logits), torch.stack(masks), list(ids), list(gt_masks)


def pair_cost(query, thing, logits, masks, ids, gt_masks, weights=(1.0, 20.0, 1.0)):
    """Written out for one pair, with the losses of pairs."""
    prob = math.exp(logits[query, ids[thing]]) / sum(math.exp(value) for value in logits[query])
    pair = masks[query].flatten()[None], gt_masks[thing].flatten()[None]
    by_class, by_mask, by_dice = weights
    return -by_class * prob + by_mask * focal_loss(*pair).item() + by_dice * dice_loss(*pair).item()


@pytest.mark.parametrize("weights", [(1.0, 20.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 2.0)])
@pytest.mark.parametrize(("queries", "objects"), [(5, 3), (3, 3), (3, 5), (4, 1), (1, 1)])
def test_no_other_assignment_is_cheaper(queries, objects, weights):
    one = image(queries, objects)
    ((found_queries, found_objects),) = HungarianMatcher(*weights)(*batch(one))
    count = min(queries, objects)
    assert len(found_queries) == len(set(found_objects.tolist())) == count
    assert found_queries.tolist() == sorted(set(found_queries.tolist()))
    pairs = zip(found_queries.tolist(), found_objects.tolist(), strict=True)
    cost = sum(pair_cost(q, n, *one, weights) for q, n in pairs)
    cheapest = min(
        sum(pair_cost(q, n, *one, weights) for q, n in zip(some, others, strict=True))
        for some in itertools.combinations(range(queries), count)
        for others in itertools.permutations(range(objects), count)
    )
    assert cost == pytest.approx(cheapest, rel=1e-4)


def test_each_image_of_a_batch_is_matched_by_itself():
    images = [image(4, objects) for objects in (2, 0, 6, 1)]
    together = HungarianMatcher()(*batch(*images))
    for one, found in zip(images, together, strict=True):
        (alone,) = HungarianMatcher()(*batch(one))
        assert torch.equal(found[0], alone[0])
        assert torch.equal(found[1], alone[1])
    assert [len(found[0]) for found in together] == [2, 0, 4, 1]


def test_nothing_to_match():
    ((queries, objects),) = HungarianMatcher()(*batch(image(3, 0)))
    assert queries.tolist() == objects.tolist() == []
    assert queries.dtype == objects.dtype == torch.int64


def test_one_class():
    """Only masks can tell, and the proposal that equals the object has it."""
    _, masks, _, gt_masks = image(4, 1)
    masks[2] = 9.0 * (2 * gt_masks[0].float() - 1)
    found = HungarianMatcher()(
        torch.zeros(1, 4, 2), masks[None], [torch.zeros(1).long()], [gt_masks]
    )
    assert [each.tolist() for each in found[0]] == [[2], [0]]


def test_masks_are_brought_to_the_predictions_nearest_pixel():
    logits, masks, ids, coarse = image(5, 3)
    fine = coarse.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    costs = HungarianMatcher().costs(logits, masks, ids, fine)
    torch.testing.assert_close(costs, HungarianMatcher().costs(logits, masks, ids, coarse))


def test_logits_that_are_not_finite():
    logits, masks, ids, gt_masks = batch(image(3, 2))
    masks[0, 1, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="training has diverged; lower SOLVER.BASE_LR"):
        HungarianMatcher()(logits, masks, ids, gt_masks)


@pytest.mark.parametrize("weights", [(-1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_weights_that_mean_nothing(weights):
    with pytest.raises(ValueError, match="numbers of at least 0, one of them positive"):
        HungarianMatcher(*weights)


def test_ignored_pixels_do_not_decide():
    """Cut out, the same pixels are missing; whatever a mask says there."""
    logits, masks, ids, gt_masks = image(5, 3, size=(4, 6))
    ignored = torch.zeros(4, 6, dtype=torch.bool)
    ignored[:, 4:] = True
    costs = HungarianMatcher().costs(logits, masks, ids, gt_masks, ignored)
    cut = HungarianMatcher().costs(logits, masks[..., :4], ids, gt_masks[..., :4])
    torch.testing.assert_close(costs, cut)
    masks[..., 4:] += 7
    torch.testing.assert_close(HungarianMatcher().costs(logits, masks, ids, gt_masks, ignored), cut)
    assert not torch.allclose(HungarianMatcher().costs(logits, masks, ids, gt_masks), cut)
    # Of another size than the grid: by its nearest pixels, as masks are.
    large = [each.repeat_interleave(2, -1).repeat_interleave(2, -2) for each in (gt_masks, ignored)]
    torch.testing.assert_close(HungarianMatcher().costs(logits, masks, ids, *large), cut)
