import pytest
import torch

from ovseg_d2.clip import CLIPTower, fill_color, prepare_crops


def test_fill_color_by_hand(tower: CLIPTower) -> None:
    mean, std = torch.tensor(tower.mean), torch.tensor(tower.std)
    assert torch.equal(fill_color(tower, "mean"), torch.zeros(3))
    torch.testing.assert_close(fill_color(tower, "zero"), -mean / std)
    assert fill_color(tower, "none") is None


def test_prepare_crops_normalises_fills_and_resizes(tower: CLIPTower) -> None:
    crops = [torch.full((3, 4, 6), 255, dtype=torch.uint8), torch.full((3, 2, 2), 255.0)]
    masks = [torch.zeros(4, 6, dtype=torch.bool), torch.ones(2, 2, dtype=torch.bool)]
    found, found_masks = prepare_crops(tower, crops, masks, (8, 8), "zero")
    mean, std = torch.tensor(tower.mean), torch.tensor(tower.std)
    black, white = -mean / std, (1 - mean) / std
    for image, colour in zip(found, (black, white), strict=True):
        torch.testing.assert_close(image, colour.view(3, 1, 1).expand(3, 8, 8))
    assert found_masks.dtype == torch.bool
    assert found_masks.flatten(1).all(dim=1).tolist() == [False, True]


def test_prepare_crops_refuses_masks_that_do_not_fit(tower: CLIPTower) -> None:
    crops = [torch.zeros(3, 4, 4)]
    with pytest.raises(ValueError, match="give one for each crop"):
        prepare_crops(tower, crops, [], (8, 8))
    with pytest.raises(ValueError, match="give a mask of the crop's size"):
        prepare_crops(tower, crops, [torch.zeros(5, 5, dtype=torch.bool)], (8, 8))
