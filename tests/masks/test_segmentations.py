"""Masks as COCO's polygons and as SAM's own list, in mask files."""

import json

import cv2
import numpy as np
import pytest

from ovseg_d2.masks import MaskFileError, MaskFolder, decode_masks, encode_masks, read_masks

SIZE = (20, 30)
TRIANGLE = [3.0, 2.0, 27.0, 4.0, 10.0, 17.0]
SQUARE = [20, 10, 28, 10, 28, 18, 20, 18]


def depth_in(polygons: list[list[float]]) -> np.ndarray:
    """(H, W) distance in pixels of each pixel centre inside the nearest polygon."""
    contours = [np.float32(polygon).reshape(-1, 1, 2) for polygon in polygons]
    rows, columns = (axis + 0.5 for axis in np.indices(SIZE))
    centres = zip(columns.flat, rows.flat, strict=True)
    depths = [
        max(cv2.pointPolygonTest(contour, centre, True) for contour in contours)
        for centre in centres
    ]
    return np.reshape(depths, SIZE)


def test_decode_masks_joins_polygons():
    found = decode_masks([[SQUARE], [TRIANGLE, SQUARE]], SIZE)
    assert found.shape == (2, *SIZE) and found.dtype == bool
    assert np.argwhere(found[0]).min(axis=0).tolist() == [10, 20]
    assert found[0].sum() == 8 * 8
    depth = depth_in([TRIANGLE, SQUARE])
    assert found[1][depth > 1].all() and not found[1][depth < -1].any()


BAD_POLYGONS = {
    "no polygon": ([], "instead of polygons, runs or"),
    "a box": ([[1, 2, 3, 4]], "has the polygon"),
    "an odd number": ([[1, 2, 3, 4, 5, 6, 7]], "has the polygon"),
    "no numbers": ([[1, 2, 3, 4, 5, "6"]], "has the polygon"),
    "numbers alone": (TRIANGLE, "has the polygon 3.0"),
    "not a number": ([[1, 2, 3, 4, 5, float("nan")]], "the coordinate nan"),
    "far away": ([[1, 2, 3, 4, 5, 10**400]], "far outside of an image of 20 x 30 pixels"),
    "endless edges": ([[0, 0, 30, 20, 0, 0] * 40_000], "whose edges are"),
}


@pytest.mark.parametrize("case", BAD_POLYGONS)
def test_decode_masks_refuses_bad_polygons(case, monkeypatch):
    monkeypatch.setattr("ovseg_d2.masks.segmentations._MAX_EDGES", 10**6)
    polygons, words = BAD_POLYGONS[case]
    with pytest.raises(ValueError, match=f"number 1 .*{words}") as caught:
        decode_masks([[SQUARE], polygons], SIZE)
    assert len(str(caught.value)) < 250


def test_decode_masks_takes_arrays():
    masks = np.random.default_rng(0).random((3, *SIZE)) < 0.5
    assert (decode_masks(list(masks), SIZE) == masks).all()
    assert (decode_masks([mask.astype(np.uint8) for mask in masks], SIZE) == masks).all()
    with pytest.raises(ValueError, match=r"is an array of \[30, 20\] pixels instead of \[20, 30\]"):
        decode_masks([masks[0].T], SIZE)
    with pytest.raises(ValueError, match="an array with other values than 0 and 1"):
        decode_masks([masks[0] * 255.0], SIZE)


@pytest.mark.parametrize("form", ["rows of bool", "rows of 0 and 1", "coco_rle", "polygons"])
@pytest.mark.parametrize("alone", [True, False])
def test_read_masks_takes_sam_lists_and_polygons(tmp_path, form, alone):
    """`alone`: SAM's list itself; else SA-1B's object, with the image's size."""
    masks = decode_masks([[SQUARE], [TRIANGLE]], SIZE)
    forms = {
        "rows of bool": masks.tolist(),
        "rows of 0 and 1": masks.astype(int).tolist(),
        "coco_rle": encode_masks(masks),
        "polygons": [[SQUARE], [TRIANGLE]],
    }
    entries = [
        {"segmentation": each, "area": 9, "bbox": [0, 0, 1, 1], "crop_box": [0, 0, 30, 20]}
        for each in forms[form]
    ]
    image = {"height": SIZE[0], "width": SIZE[1]}
    content = entries if alone else {"image": image, "annotations": entries}
    path = tmp_path / "photo.json"
    path.write_text(json.dumps(content))
    assert (read_masks(path, SIZE) == masks).all()
    image = np.zeros((*SIZE, 3), np.uint8)
    assert (MaskFolder(tmp_path)(image, "elsewhere/photo.jpg") == masks).all()
    # Polygons and 0 and 1 alone do not tell the size of their image.
    if alone and form in ("polygons", "rows of 0 and 1"):
        with pytest.raises(MaskFileError, match="the size of its image is None"):
            read_masks(path)
    else:
        assert (read_masks(path) == masks).all()
        with pytest.raises(MaskFileError, match="its masks are 20 x 30 pixels"):
            read_masks(path, (30, 20))


def test_read_masks_of_an_empty_list(tmp_path):
    path = tmp_path / "photo.json"
    path.write_text("[]")
    assert read_masks(path, SIZE).shape == (0, *SIZE)


def test_read_masks_refuses_too_many_pixels(tmp_path):
    path = tmp_path / "photo.json"
    entry = {"segmentation": {"size": [10**5, 10**5], "counts": [10**10]}}
    path.write_text(json.dumps([entry]))
    with pytest.raises(MaskFileError, match="the size of its image is .*at most 268435456 pix"):
        read_masks(path)
    entry = {"segmentation": {"size": [2**14, 2**14], "counts": [2**28]}}
    path.write_text(json.dumps([entry] * 33))
    with pytest.raises(MaskFileError, match="33 of 16384 x 16384 pixels take more than 8 GiB"):
        read_masks(path, (2**14, 2**14))
