"""`class_shares` and `split_labels`."""

import pytest
import torch

from ovseg_d2.ops import class_shares, split_labels


def test_class_shares_worked_by_hand() -> None:
    labels = torch.tensor([[0, 2, 2], [255, 2, 0]])
    assert class_shares(labels, 4, 255).tolist() == [0.4, 0.0, 0.6, 0.0]


def test_class_shares_of_uint8_without_ignore() -> None:
    labels = torch.tensor([254, 254, 3, 0], dtype=torch.uint8)
    shares = class_shares(labels, 255)
    assert shares[254].item() == 0.5
    assert shares.sum().item() == 1.0


def test_class_shares_without_pixels_are_zero() -> None:
    assert class_shares(torch.full((2, 2), 255), 3, 255).tolist() == [0.0, 0.0, 0.0]
    assert class_shares(torch.zeros(0, dtype=torch.long), 2).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("value", "message"), [(3, "labels hold 3"), (-1, "labels hold -1")])
def test_class_shares_refuse_labels_out_of_range(value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_shares(torch.tensor([0, value]), 3, 255)


def test_class_shares_refuse_floats() -> None:
    with pytest.raises(ValueError, match=r"dtype torch\.float32"):
        class_shares(torch.zeros(3), 3)


def test_split_labels_gives_a_mask_per_class() -> None:
    ids, masks = split_labels(torch.tensor([[4, -1, 0], [0, 4, 4]]))
    assert ids.tolist() == [0, 4]
    assert masks.int().tolist() == [[[0, 0, 1], [1, 0, 0]], [[1, 0, 0], [0, 1, 1]]]
    ids, masks = split_labels(torch.full((2, 3), -1))
    assert ids.tolist() == [] and masks.shape == (0, 2, 3)
