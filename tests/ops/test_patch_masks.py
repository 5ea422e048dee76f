import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.ops import patch_masks


def test_patch_masks_keep_patches_with_one_pixel() -> None:
    masks = torch.zeros(1, 4, 6, dtype=torch.bool)
    masks[0, 1, 1] = masks[0, 2, 5] = True
    assert patch_masks(masks, (2, 2)).tolist() == [[[True, False, False], [False, False, True]]]


def test_patch_masks_equal_the_ceiling_of_the_mean() -> None:
    masks = torch.rand(3, 12, 20) > 0.9
    expected = F.avg_pool2d(masks.float()[:, None], (4, 5)).ceil()[:, 0].bool()
    kept = patch_masks(masks, (4, 5))
    assert torch.equal(kept, expected)
    assert not kept.all()


def test_patch_masks_of_soft_masks() -> None:
    assert patch_masks(torch.tensor([[[0.0, 0.01], [0.0, 0.0]]]), (2, 1)).tolist() == [
        [[False, True]]
    ]


def test_patch_masks_pad_to_whole_patches() -> None:
    masks = torch.zeros(1, 3, 5, dtype=torch.bool)
    masks[0, 2, 4] = True
    assert patch_masks(masks, (2, 2)).tolist() == [[[False] * 3, [False, False, True]]]


def test_patch_masks_without_masks() -> None:
    assert patch_masks(torch.zeros(0, 4, 4, dtype=torch.bool), (2, 2)).shape == (0, 2, 2)


def test_patch_masks_refuse_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"give \(B, H, W\)"):
        patch_masks(torch.zeros(4, 4), (2, 2))
