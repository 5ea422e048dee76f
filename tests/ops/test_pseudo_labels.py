"""`fill_unlabelled` and `check_labels`."""

import pytest
import torch

from ovseg_d2.ops import UNLABELLED, check_labels, fill_unlabelled

LABELS = torch.tensor([[[0, UNLABELLED, 255, UNLABELLED]]])
PSEUDO = torch.tensor([[[3, 4, 5, 6]]])


def test_fill_unlabelled_fills_unlabelled_pixels_only():
    assert fill_unlabelled(LABELS, PSEUDO).tolist() == [[[0, 4, 255, 6]]]


def test_fill_unlabelled_ignores_low_confidence():
    confidences = torch.tensor([[[0.1, 0.5, 0.9, 0.4]]])
    filled = fill_unlabelled(LABELS, PSEUDO, ignore=255, confidences=confidences, threshold=0.5)
    assert filled.tolist() == [[[0, 4, 255, 255]]]
    assert PSEUDO.tolist() == [[[3, 4, 5, 6]]]


def test_check_labels_accepts():
    check_labels(LABELS, 3, forbidden=(1, 2))
    check_labels(torch.tensor([299]), 300, ignore=-100)


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([0, 2], {"forbidden": (2, 1)}, r"hold the unseen classes \[2\]: training must not see"),
        ([0, 3], {}, "labels hold 3, and there are 3 classes; map labels to 0..2, -1 for"),
        ([-2], {}, "labels hold -2"),
        ([0], {"ignore": 2}, "ignore is 2, and so is one of the 3 classes; set MODEL.SEM_SEG"),
        ([0], {"ignore": -1}, "ignore is -1, which marks unlabelled pixels; set MODEL.SEM_SEG"),
    ],
)
def test_check_labels_refuses_values(labels, options, words):
    with pytest.raises(ValueError, match=words):
        check_labels(torch.tensor(labels), 3, **options)


def test_check_labels_refuses_other_dtypes():
    with pytest.raises(ValueError, match="dtype torch.uint8; give int64"):
        check_labels(torch.zeros(2, dtype=torch.uint8), 3)
