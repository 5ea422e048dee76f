"""Run lengths against pycocotools and by hand, and refused ones."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ovseg_d2.masks import decode_masks, encode_masks

# Columns first: 2 outside, 1 inside, 3 outside. By hand: row 2 of column 0 in a 3 x 2 grid.
BY_HAND = np.array([[[0, 0], [0, 0], [1, 0]]], dtype=bool)


def test_rle_by_hand():
    assert encode_masks(BY_HAND) == [{"size": [3, 2], "counts": "213"}]
    for counts in ("213", b"213", [2, 1, 3], [2, 1, 0, 0, 3]):
        assert np.array_equal(decode_masks([{"size": (3, 2), "counts": counts}], (3, 2)), BY_HAND)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (31, 64), (200, 333)])
def test_rle_equals_pycocotools(size):
    rng = np.random.default_rng(0)
    noise = rng.random((4, *size)) < np.array([0.0, 0.03, 0.6, 1.0])[:, None, None]
    half = np.zeros((1, *size), dtype=bool)
    half[:, : size[0] // 2] = True  # long runs: several characters each
    masks = np.concatenate([noise, half])
    rles = encode_masks(masks)
    assert np.array_equal(coco_mask.decode(rles).transpose(2, 0, 1), masks)
    decoded = decode_masks(rles, size)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, masks)


def test_rle_of_no_masks():
    assert encode_masks(np.zeros((0, 4, 6), dtype=bool)) == []
    assert decode_masks([], (4, 6)).shape == (0, 4, 6)


GOOD = {"size": [3, 2], "counts": "213"}
BAD = {
    "too short": ({**GOOD, "counts": "21"}, "number 1 does not decode: .* fill 3 x 2"),
    "too long": ({**GOOD, "counts": "2131"}, "do not fill"),
    "negative": ({**GOOD, "counts": [2, -1, 5]}, "do not fill"),
    "empty": ({**GOOD, "counts": ""}, "does not decode: its counts are ''"),
    "unfinished": ({**GOOD, "counts": "21S"}, "does not decode: its counts are '21S'"),
    "endless": ({**GOOD, "counts": "o" * 40 + "3"}, "does not decode"),
    "no code": ({**GOOD, "counts": "2 3"}, "does not decode"),
    "Korean": ({**GOOD, "counts": "한글"}, "does not decode"),
    "no list of numbers": ({**GOOD, "counts": [2, "1", 3]}, "does not decode"),
    "huge": ({**GOOD, "counts": [10**30]}, "does not decode"),
    "empty list": ({**GOOD, "counts": []}, "does not decode"),
    "no counts": ({"size": [3, 2]}, "instead of {'size'"),
    "half a polygon": ([[0, 0, 1, 0, 1]], r"number 1 has the polygon \[0, 0, 1, 0, 1\]"),
    "another size": ({"size": [2, 3], "counts": "213"}, r"has the size \[2, 3\] instead of \[3, 2"),
    "size of nothing": ({"size": None, "counts": "213"}, "has the size None instead"),
}


@pytest.mark.parametrize("case", BAD)
def test_decode_masks_refuses_bad_runs(case):
    rle, words = BAD[case]
    with pytest.raises(ValueError, match=words) as caught:
        decode_masks([GOOD, rle], (3, 2))
    assert len(str(caught.value)) < 200
