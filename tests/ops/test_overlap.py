import pytest
import torch

from ovseg_d2.ops import overlap_labels


def test_overlap_labels_worked_by_hand() -> None:
    labels = torch.tensor([[0, 0, 2, 2], [255, 255, 2, 1]])
    masks = torch.zeros(4, 2, 4, dtype=torch.bool)
    masks[0, 0, :3] = True  # two pixels of class 0, one of 2
    masks[1, :, 3] = True  # one of 2, one of 1: the lower index wins
    masks[2, 1, :2] = True  # ignored pixels only
    assert overlap_labels(masks, labels, 3).tolist() == [0, 1, -1, -1]


def test_overlap_labels_equal_a_loop() -> None:
    labels = torch.randint(0, 6, (8, 9))
    masks = torch.rand(10, 8, 9) > 0.8
    for mask, label in zip(masks, overlap_labels(masks, labels, 5).tolist(), strict=True):
        inside = [value for value in labels[mask].tolist() if value < 5]
        most = max((inside.count(k) for k in range(5)), default=0)
        assert label == min(k for k in range(5) if inside.count(k) == most)


def test_overlap_labels_refuse_other_sizes() -> None:
    with pytest.raises(ValueError, match="resize the masks"):
        overlap_labels(torch.zeros(1, 2, 2, dtype=torch.bool), torch.zeros(3, 3), 2)
