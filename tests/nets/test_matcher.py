"""`HungarianMatcher`: all permutations, few objects and ignored pixels."""

import itertools
import math

import pytest
import torch

from ovseg_d2.losses import dice_loss, focal_loss
from ovseg_d2.nets import HungarianMatcher


def image(num_queries, num_objects, num_classes=3, size=(4, 5), gt_size=None):
    """Return class logits, mask logits, ids and masks of one image."""
    gt_size = gt_size or size
    return (
        torch.randn(num_queries, num_classes + 1),
        torch.randn(num_queries, *size),
        torch.randint(num_classes, (num_objects,)),
        torch.rand(num_objects, *gt_size) > 0.5,
    )


def batch(*images):
    """Return the arguments of the matcher."""
    logits, masks, ids, gt_masks = zip(*images, strict=True)
    return torch.stack(logits), torch.stack(masks), list(ids), list(gt_masks)


def pair_cost(query, target, logits, masks, ids, gt_masks, weights=(1.0, 20.0, 1.0)):
    """Compute the cost of one pair with the losses of pairs."""
    prob = math.exp(logits[query, ids[target]]) / sum(math.exp(value) for value in logits[query])
    pair = masks[query].flatten()[None], gt_masks[target].flatten()[None]
    by_class, by_mask, by_dice = weights
    return -by_class * prob + by_mask * focal_loss(*pair).item() + by_dice * dice_loss(*pair).item()


@pytest.mark.parametrize("weights", [(1.0, 20.0, 1.0), (1.0, 0.0, 0.0), (0.0, 0.0, 2.0)])
@pytest.mark.parametrize(("queries", "objects"), [(5, 3), (3, 3), (3, 5), (4, 1), (1, 1)])
def test_matcher_finds_the_cheapest_assignment(queries, objects, weights):
    one = image(queries, objects)
    ((matched_queries, matched_objects),) = HungarianMatcher(*weights)(*batch(one))
    count = min(queries, objects)
    assert len(matched_queries) == len(set(matched_objects.tolist())) == count
    assert matched_queries.tolist() == sorted(set(matched_queries.tolist()))
    pairs = zip(matched_queries.tolist(), matched_objects.tolist(), strict=True)
    cost = sum(pair_cost(q, n, *one, weights) for q, n in pairs)
    cheapest = min(
        sum(pair_cost(q, n, *one, weights) for q, n in zip(some, others, strict=True))
        for some in itertools.combinations(range(queries), count)
        for others in itertools.permutations(range(objects), count)
    )
    assert cost == pytest.approx(cheapest, rel=1e-4)


def test_matcher_matches_images_independently():
    images = [image(4, objects) for objects in (2, 0, 6, 1)]
    together = HungarianMatcher()(*batch(*images))
    for one, match in zip(images, together, strict=True):
        (alone,) = HungarianMatcher()(*batch(one))
        assert torch.equal(match[0], alone[0])
        assert torch.equal(match[1], alone[1])
    assert [len(match[0]) for match in together] == [2, 0, 4, 1]


def test_matcher_without_objects():
    ((queries, objects),) = HungarianMatcher()(*batch(image(3, 0)))
    assert queries.tolist() == objects.tolist() == []
    assert queries.dtype == objects.dtype == torch.int64


def test_matcher_of_one_class_matches_masks():
    _, masks, _, gt_masks = image(4, 1)
    masks[2] = 9.0 * (2 * gt_masks[0].float() - 1)
    ids = [torch.zeros(1).long()]
    ((queries, objects),) = HungarianMatcher()(torch.zeros(1, 4, 2), masks[None], ids, [gt_masks])
    assert (queries.tolist(), objects.tolist()) == ([2], [0])


def test_costs_resize_masks_to_the_nearest_pixel():
    logits, masks, ids, coarse = image(5, 3)
    fine = coarse.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    costs = HungarianMatcher().costs(logits, masks, ids, fine)
    torch.testing.assert_close(costs, HungarianMatcher().costs(logits, masks, ids, coarse))


def test_matcher_refuses_logits_that_are_not_finite():
    logits, masks, ids, gt_masks = batch(image(3, 2))
    masks[0, 1, 0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="training has diverged; lower SOLVER.BASE_LR"):
        HungarianMatcher()(logits, masks, ids, gt_masks)


@pytest.mark.parametrize("weights", [(-1.0, 1.0, 1.0), (0.0, 0.0, 0.0)])
def test_matcher_refuses_weights(weights):
    with pytest.raises(ValueError, match="numbers of at least 0, one of them positive"):
        HungarianMatcher(*weights)


def test_costs_leave_out_ignored_pixels():
    """Ignored pixels have the effect of pixels cropped away."""
    logits, masks, ids, gt_masks = image(5, 3, size=(4, 6))
    ignored = torch.zeros(4, 6, dtype=torch.bool)
    ignored[:, 4:] = True
    costs = HungarianMatcher().costs(logits, masks, ids, gt_masks, ignored)
    cut = HungarianMatcher().costs(logits, masks[..., :4], ids, gt_masks[..., :4])
    torch.testing.assert_close(costs, cut)
    masks[..., 4:] += 7
    torch.testing.assert_close(HungarianMatcher().costs(logits, masks, ids, gt_masks, ignored), cut)
    assert not torch.allclose(HungarianMatcher().costs(logits, masks, ids, gt_masks), cut)
    # An ignore mask of another size is resized by nearest neighbours, as masks are.
    large = [m.repeat_interleave(2, -1).repeat_interleave(2, -2) for m in (gt_masks, ignored)]
    torch.testing.assert_close(HungarianMatcher().costs(logits, masks, ids, *large), cut)
