"""Mask pooling against values worked by hand and a loop."""

import pytest
import torch

from ovseg_d2.ops import pool_masks


def test_pool_masks_worked_by_hand():
    feats = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]])
    masks = torch.tensor([[[[True, False], [False, True]], [[False, False], [True, False]]]])
    expected = torch.tensor([[[2.5, 25.0], [3.0, 30.0]]])
    assert torch.equal(pool_masks(feats, masks), expected)


def test_pool_masks_with_soft_weights():
    feats = torch.tensor([[[[2.0, 6.0]]]])
    weights = torch.tensor([[[[0.25, 0.75]]]])
    assert pool_masks(feats, weights).item() == pytest.approx(0.25 * 2 + 0.75 * 6)


def test_pool_masks_of_an_empty_mask():
    feats = torch.randn(1, 3, 2, 2, requires_grad=True)
    weights = torch.zeros(1, 2, 2, 2)
    weights[0, 0, 0, 0] = 1
    pooled = pool_masks(feats, weights)
    assert torch.equal(pooled[0, 1], torch.zeros(3))
    pooled.sum().backward()
    assert torch.isfinite(feats.grad).all()
    assert torch.equal(feats.grad[0, :, 0, 0], torch.ones(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_pool_masks_equals_a_loop(dtype):
    feats, masks = torch.randn(2, 4, 3, 5).to(dtype), torch.rand(2, 6, 3, 5) > 0.6
    pooled = pool_masks(feats, masks)
    assert pooled.dtype == dtype
    for b in range(2):
        for q in range(6):
            cells = feats[b].double()[:, masks[b, q]]
            mean = cells.mean(1) if cells.shape[1] else torch.zeros(4).double()
            tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
            torch.testing.assert_close(pooled[b, q].double(), mean, rtol=0, atol=tolerance)


def test_pool_masks_without_masks():
    assert pool_masks(torch.randn(1, 3, 2, 2), torch.zeros(1, 0, 2, 2)).shape == (1, 0, 3)


def test_pool_masks_refuses_another_grid():
    with pytest.raises(ValueError, match="resize the masks"):
        pool_masks(torch.randn(1, 3, 2, 2), torch.zeros(1, 1, 4, 4))
