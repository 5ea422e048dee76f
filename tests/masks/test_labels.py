"""Label maps into masks, and the nearest pixel."""

import numpy as np
import pytest
import torch

from ovseg_d2.masks import masks_of_labels, nearest_pixels


def test_masks_of_labels_by_hand():
    masks = masks_of_labels(np.array([[5, 5, 2], [9, 2, 2]]))
    assert masks.dtype == bool
    assert masks.astype(int).tolist() == [
        [[0, 0, 1], [0, 1, 1]],
        [[1, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [1, 0, 0]],
    ]


@pytest.mark.parametrize(("old", "new"), [(5, 5), (7, 3), (3, 7), (640, 96), (1, 4), (6, 1)])
def test_nearest_pixels_equals_torch_nearest_exact(old, new):
    ramp = torch.arange(old).float()[None, None]
    expected = torch.nn.functional.interpolate(ramp, size=new, mode="nearest-exact")
    assert nearest_pixels(old, new).tolist() == expected[0, 0].tolist()
