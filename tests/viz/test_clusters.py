"""Pictures of clusters: which cluster a pixel shows, given and predicted."""

import numpy as np
import pytest
import torch

from ovseg_d2.viz import draw_clusters, draw_overlay
from ovseg_d2.viz.overlay import _visible_size

NAMES = ["cluster 0", "cluster 1", "cluster 2"]


def scene():
    """Give a grey image; cluster 0 covers all of it, cluster 2 its right half; 1 has no mask."""
    image = np.full((256, 256, 3), 128, np.uint8)
    targets = torch.zeros(3, 4, 4)
    targets[0] = 1
    targets[2, :, 2:] = 1
    logits = torch.full((3, 4, 4), -1.0)
    logits[1] = 9.0  # best everywhere, and none of the image's clusters
    logits[0, :2], logits[2, :, :1] = 2.0, 3.0
    return image, targets, logits


def test_both_panels_pixel_by_pixel():
    image, targets, logits = scene()
    # The smaller cluster is seen; predicted are 2 in the first column, 0 in the upper rows.
    given = np.zeros((256, 256), np.int64)
    given[:, 128:] = 2
    predicted = np.full((256, 256), -1)
    predicted[:128], predicted[:, :64] = 0, 2
    left = draw_overlay(image, given, NAMES, ignore_label=-1)
    right = draw_overlay(image, predicted, NAMES, ignore_label=-1)
    found = np.asarray(draw_clusters(image, targets, logits, NAMES))
    assert np.array_equal(found[: left.height, : left.width], np.asarray(left))
    assert np.array_equal(found[: right.height, -right.width :], np.asarray(right))
    assert found.shape[1] == left.width + 4 + right.width


def test_images_without_masks_and_with_many_clusters():
    image = np.zeros((20, 30, 3), np.uint8)
    names = [str(number) for number in range(300)]  # more than one byte can count
    targets = torch.zeros(300, 8, 8)
    empty = draw_clusters(image, targets, torch.ones(300, 8, 8), names)
    assert empty.height >= _visible_size((30, 20))[1]
    targets[255] = targets[299, :4] = 1
    assert draw_clusters(image, targets, targets, names).size[0] == empty.size[0]


@pytest.mark.parametrize("change", ["names", "logits", "targets"])
def test_parts_that_differ(change):
    image, targets, logits = scene()
    names = NAMES[:2] if change == "names" else NAMES
    logits = logits[:, :3] if change == "logits" else logits
    targets = targets[0] if change == "targets" else targets
    with pytest.raises(ValueError, match=r"give \(P, h, w\) twice and P names"):
        draw_clusters(image, targets, logits, names)
