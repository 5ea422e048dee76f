"""Masks on grids: worked values, loops, and pooling at pixels as the reference."""

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.ops import location_weights, merge_masks, pool_masks, resize_masks


def test_resize_masks_worked_by_hand():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, :2] = True  # two pixels of four remain
    masks[1, 1, 1] = True  # none remains: pixels 0 and 2 of each axis are kept
    masks[2, 2, 2] = True  # one remains, fewer than min_pixels
    resized, kept = resize_masks(masks, (2, 2))
    assert kept.tolist() == [True, False, False]
    assert resized.dtype == torch.bool
    assert resized.tolist() == [[[True, True], [False, False]]]
    resized, kept = resize_masks(masks, (2, 2), min_pixels=1)
    assert kept.tolist() == [True, False, True]
    assert resized[1].tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize("size", [(5, 7), (12, 20), (9, 3), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_resize_masks_equals_loops(size, dtype):
    masks = torch.rand(4, 9, 11) > 0.5
    resized, kept = resize_masks(masks.to(dtype), size, min_pixels=0)
    assert kept.all()
    for y in range(size[0]):
        for x in range(size[1]):
            source = masks[:, y * 9 // size[0], x * 11 // size[1]]
            assert torch.equal(resized[:, y, x], source)


def test_resize_masks_without_masks():
    resized, kept = resize_masks(torch.zeros(0, 5, 5, dtype=torch.bool), (3, 4))
    assert resized.shape == (0, 3, 4)
    assert kept.shape == (0,)
    assert resized.dtype == kept.dtype == torch.bool


def test_resize_masks_refuses_a_single_mask():
    with pytest.raises(ValueError, match=r"masks have shape \(5, 5\); give \(N, H, W\)"):
        resize_masks(torch.ones(5, 5), (2, 2))


def test_location_weights_worked_by_hand():
    """Two locations over four pixels: a pixel reads (1, 0), (3/4, 1/4), (1/4, 3/4), (0, 1)."""
    masks = torch.tensor([[[1, 1, 0, 0]], [[0, 1, 0, 0]], [[1, 1, 1, 1]]], dtype=torch.bool)
    weights = location_weights(masks, (1, 2))
    expected = torch.tensor([[[1.75, 0.25]], [[0.75, 0.25]], [[2.0, 2.0]]]) / 2
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (16, 12), (1, 1), (20, 30)])
def test_location_weights_pool_as_at_pixels(grid):
    feats = torch.randn(1, 6, *grid)
    masks = torch.rand(5, 16, 12) > torch.rand(5, 1, 1)
    at_pixels = F.interpolate(feats, (16, 12), mode="bilinear", align_corners=False)
    expected = pool_masks(at_pixels, masks[None])
    actual = pool_masks(feats, location_weights(masks, grid)[None])
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_location_weights_without_masks():
    assert location_weights(torch.zeros(0, 8, 8, dtype=torch.bool), (2, 3)).shape == (0, 2, 3)


def test_merge_masks_worked_by_hand():
    masks = torch.zeros(4, 2, 3, dtype=torch.bool)
    masks[0, 0, 0] = masks[1, 0, :2] = masks[2, 1, 2] = masks[3, 1] = True
    image_ids, cluster_ids = torch.tensor([0, 0, 0, 2]), torch.tensor([1, 1, 0, 1])
    merged = merge_masks(masks, image_ids, cluster_ids, num_images=3, num_clusters=2)
    assert merged.dtype == torch.float32
    assert merged.tolist() == [
        [[[0, 0, 0], [0, 0, 1]], [[1, 1, 0], [0, 0, 0]]],
        [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]],
        [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 1, 1]]],
    ]


def test_merge_masks_equals_loops():
    masks = torch.rand(20, 4, 5) > 0.6
    image_ids, cluster_ids = torch.randint(3, (20,)), torch.randint(6, (20,))
    merged = merge_masks(masks, image_ids, cluster_ids, num_images=3, num_clusters=6)
    for b in range(3):
        for p in range(6):
            members = masks[(image_ids == b) & (cluster_ids == p)]
            assert torch.equal(merged[b, p], members.any(dim=0).float())


def test_merge_masks_without_masks():
    none = torch.zeros(0, dtype=torch.long)
    merged = merge_masks(
        torch.zeros(0, 2, 2, dtype=torch.bool), none, none, num_images=2, num_clusters=3
    )
    assert torch.equal(merged, torch.zeros(2, 3, 2, 2))


def test_merge_masks_refuses_other_numbers_of_ids():
    masks, ids = torch.ones(2, 3, 3, dtype=torch.bool), torch.zeros(1, dtype=torch.long)
    with pytest.raises(ValueError, match="2 masks, 1 image_ids and 1 cluster_ids"):
        merge_masks(masks, ids, ids, num_images=1, num_clusters=1)
