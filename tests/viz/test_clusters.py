"""`draw_clusters`."""

import numpy as np
import pytest
import torch

from ovseg_d2.viz import draw_clusters, draw_overlay

NAMES = ["cluster 0", "cluster 1", "cluster 2"]


def scene():
    """Return a grey image; cluster 0 covers all of it, cluster 2 its right half; 1 has no mask."""
    image = np.full((256, 256, 3), 128, np.uint8)
    targets = torch.zeros(3, 4, 4)
    targets[0] = 1
    targets[2, :, 2:] = 1
    logits = torch.full((3, 4, 4), -1.0)
    logits[1] = 9.0  # best everywhere, but without a mask in the image
    logits[0, :2], logits[2, :, :1] = 2.0, 3.0
    return image, targets, logits


def test_draw_clusters_both_panels():
    image, targets, logits = scene()
    # The smaller cluster is drawn; predicted are 2 in the first column, 0 in the upper rows.
    target = np.zeros((256, 256), np.int64)
    target[:, 128:] = 2
    predicted = np.full((256, 256), -1)
    predicted[:128], predicted[:, :64] = 0, 2
    left = draw_overlay(image, target, NAMES, ignore_label=-1)
    right = draw_overlay(image, predicted, NAMES, ignore_label=-1)
    canvas = np.asarray(draw_clusters(image, targets, logits, NAMES))
    assert np.array_equal(canvas[: left.height, : left.width], np.asarray(left))
    assert np.array_equal(canvas[: right.height, -right.width :], np.asarray(right))
    assert canvas.shape[1] == left.width + 4 + right.width


def test_draw_clusters_without_masks_and_with_many():
    image = np.zeros((20, 30, 3), np.uint8)
    names = [str(number) for number in range(300)]  # more than one byte can count
    targets = torch.zeros(300, 8, 8)
    empty = draw_clusters(image, targets, torch.ones(300, 8, 8), names)
    assert empty.height >= 20 * (256 // 30)  # enlarged
    targets[255] = targets[299, :4] = 1
    assert draw_clusters(image, targets, targets, names).size[0] == empty.size[0]


@pytest.mark.parametrize("change", ["names", "logits", "targets"])
def test_draw_clusters_refuses(change):
    image, targets, logits = scene()
    names = NAMES[:2] if change == "names" else NAMES
    logits = logits[:, :3] if change == "logits" else logits
    targets = targets[0] if change == "targets" else targets
    with pytest.raises(ValueError, match=r"give \(P, h, w\) twice and P names"):
        draw_clusters(image, targets, logits, names)
