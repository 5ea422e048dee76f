"""`fuse_masks` and `fused_bands`: worked values and loops."""

import pytest
import torch

from ovseg_d2.ops import fuse_masks, fused_bands


def test_fuse_masks_worked_by_hand():
    class_probs = torch.tensor([[0.5, 0.25], [0.0, 1.0]])
    mask_probs = torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])
    expected = torch.tensor([[[0.5, 0.25]], [[0.25, 0.625]]])
    assert torch.equal(fuse_masks(class_probs, mask_probs), expected)


@pytest.mark.parametrize("max_elements", [1, 40, 10**6])
def test_fused_bands_equal_loops(max_elements):
    class_probs, mask_probs = torch.rand(4, 3), torch.rand(4, 6, 5)
    bands = list(fused_bands(class_probs, mask_probs, max_elements=max_elements))
    assert len(bands) == {1: 6, 40: 3, 10**6: 1}[max_elements]
    scores = torch.cat(bands, dim=1)
    for k in range(3):
        for y in range(6):
            for x in range(5):
                expected = sum(float(class_probs[q, k] * mask_probs[q, y, x]) for q in range(4))
                assert scores[k, y, x].item() == pytest.approx(expected, rel=1e-5)


def test_fused_bands_without_masks_are_zero():
    bands = list(fused_bands(torch.rand(0, 3), torch.rand(0, 4, 5)))
    assert torch.equal(torch.cat(bands, dim=1), torch.zeros(3, 4, 5))


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4, 4)), ((3,), (3, 4, 4)), ((3, 2), (3, 4))])
def test_fuse_masks_refuses_shapes(shapes):
    with pytest.raises(ValueError, match=r"must be \(Q, K\) and \(Q, H, W\)"):
        fuse_masks(torch.rand(shapes[0]), torch.rand(shapes[1]))
