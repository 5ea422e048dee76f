"""Mask files: SA-1B's format both ways, and one sentence for every kind of bad file."""

import json
import os
import stat

import numpy as np
import pytest

from ovseg_d2.files import WriteError
from ovseg_d2.masks import MaskFileError, mask_file_name, read_info, read_masks, write_masks

# As SA-1B writes them; the two masks are the left column and the top right pixel of 2 x 2.
SA1B = {
    "image": {"image_id": 7, "width": 2, "height": 2, "file_name": "sa_7.jpg"},
    "annotations": [
        {
            "bbox": [0.0, 0.0, 1.0, 2.0],
            "area": 2,
            "segmentation": {"size": [2, 2], "counts": "022"},
            "predicted_iou": 0.9,
            "point_coords": [[0.5, 0.5]],
            "crop_box": [0.0, 0.0, 2.0, 2.0],
            "id": 1,
            "stability_score": 0.96,
        },
        {
            "bbox": [1.0, 0.0, 1.0, 1.0],
            "area": 1,
            "segmentation": {"size": [2, 2], "counts": "211"},
            "id": 2,
        },
    ],
}
MASKS = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 0]]], dtype=bool)


@pytest.fixture
def file(tmp_path):
    """A function that writes JSON, or text as it is, to a file."""

    def write(content) -> str:
        path = tmp_path / "sa_7.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_read_masks_reads_sa1b(file):
    masks = read_masks(file(SA1B), (2, 2))
    assert masks.dtype == bool
    assert np.array_equal(masks, MASKS)
    assert read_info(file(SA1B)) == {}


def test_write_masks_writes_sa1bs_entries(tmp_path):
    masks = np.zeros((2, 4, 6), dtype=bool)
    masks[0, 1:3, 2:6] = True
    path = tmp_path / "below" / "a.json"
    write_masks(path, masks, file_name="a.jpg", info={"source": "hand"})
    content = json.loads(path.read_text())
    assert content["image"] == {"image_id": "a", "width": 6, "height": 4, "file_name": "a.jpg"}
    first, empty = content["annotations"]
    assert (first["bbox"], first["area"], first["id"]) == ([2, 1, 4, 2], 8, 0)
    assert first["segmentation"]["size"] == [4, 6]
    assert (empty["bbox"], empty["area"]) == ([0, 0, 0, 0], 0)
    assert np.array_equal(read_masks(path, (4, 6)), masks)
    assert read_info(path) == {"source": "hand"}


@pytest.mark.parametrize("shape", [(0, 5, 3), (1, 1, 1), (9, 17, 40)])
def test_read_masks_returns_what_was_written(tmp_path, shape):
    masks = np.random.default_rng(1).random(shape) < 0.4
    write_masks(tmp_path / "a.json", masks)
    found = read_masks(tmp_path / "a.json")
    assert found.shape == shape
    assert np.array_equal(found, masks)


def test_read_masks_finds_the_size(file):
    assert read_masks(file({"annotations": SA1B["annotations"]})).shape == (2, 2, 2)
    assert read_masks(file({"annotations": []}), (5, 7)).shape == (0, 5, 7)
    with pytest.raises(MaskFileError, match="the size of its image is None; it needs 'height'"):
        read_masks(file({"annotations": []}))
    with pytest.raises(MaskFileError, match=r"the size of its image is \(0, 2\)"):
        read_masks(file({**SA1B, "image": {"width": 2, "height": 0}}))


def changed(**changes) -> dict:
    return {**SA1B, "annotations": [SA1B["annotations"][0], {**SA1B["annotations"][1], **changes}]}


BAD = {
    "empty": ("", "it is empty; make it again"),
    "blank": (" \n", "it is empty"),
    "truncated": (json.dumps(SA1B)[:-40], "it is truncated or not JSON"),
    "no text": ("\x00\x01", "it is truncated or not JSON"),
    "deep": ("[" * 100_000, "it is truncated or not JSON"),
    "a list": (
        "[3]",
        "an entry of its 'annotations' is not an object; give a file in SA-1B's format",
    ),
    "a number": ("3", "it has no list 'annotations'"),
    "no list": ({"annotations": {}}, "it has no list 'annotations'"),
    "no object": ({**SA1B, "annotations": [3]}, "an entry of its 'annotations' is not an object"),
    "no mask": (changed(segmentation=None), "mask number 1 is None instead of"),
    "half a polygon": (changed(segmentation=[[0, 0, 1, 1]]), "mask number 1 has the polygon"),
    "far polygon": (
        changed(segmentation=[[0, 0, 1, 1, 1, 1e9]]),
        "mask number 1 has a polygon with the coordinate 1000000000.0, far outside of an image",
    ),
    "array of another size": (
        changed(segmentation=[[True, False]]),
        r"mask number 1 is an array of \[1, 2\] pixels instead of \[2, 2\]",
    ),
    "array of numbers": (changed(segmentation=[[True, 2], [0, 1]]), "other values than 0 and 1"),
    "runs": (
        changed(segmentation={"size": [2, 2], "counts": "21"}),
        "mask number 1 does not decode: its counts '21' do not fill 2 x 2 pixels; make it again",
    ),
    "inner size": (
        changed(segmentation={"size": [1, 2], "counts": "02"}),
        r"mask number 1 has the size \[1, 2\] instead of \[2, 2\]",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_read_masks_refuses_bad_files(file, case):
    content, words = BAD[case]
    with pytest.raises(MaskFileError, match=words) as caught:
        read_masks(file(content), (2, 2))
    assert str(caught.value).startswith("cannot read masks from ")
    assert "sa_7.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_masks_refuses_another_image_size(file):
    words = r"its masks are 2 x 2 pixels .* and the image is 4 x 2; pair each image with"
    with pytest.raises(MaskFileError, match=words):
        read_masks(file(SA1B), (4, 2))


def test_read_masks_refuses_missing_files(tmp_path):
    with pytest.raises(MaskFileError, match="none.json: there is no such file; make it with"):
        read_masks(tmp_path / "none.json")
    with pytest.raises(MaskFileError, match="the system says"):
        read_masks(tmp_path)


def test_write_masks_keeps_the_old_file_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_masks(path, MASKS)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(WriteError, match="a.json: the disk is full"):
        write_masks(path, ~MASKS)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.json"]
    assert stat.S_ISREG(path.stat().st_mode)


@pytest.mark.parametrize(
    "masks",
    [np.zeros((2, 2), bool), np.zeros((1, 2, 2), np.uint8), np.zeros((1, 0, 2), bool)],
    ids=["one mask", "uint8", "no pixels"],
)
def test_write_masks_refuses_other_arrays(tmp_path, masks):
    with pytest.raises(ValueError, match=r"give \(Q, H, W\) of bool"):
        write_masks(tmp_path / "a.json", masks)
    assert not (tmp_path / "a.json").exists()


def test_mask_file_name():
    assert mask_file_name("a/b.c.jpg") == "b.c.json"
    assert mask_file_name("shapes://val/0/3") == "shapes_val_0_3.json"
    assert mask_file_name("/x/사진.png") == "사진.json"
