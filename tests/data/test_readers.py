"""Pictures and label maps of real and of virtual files."""

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.data import shapes
from ovseg_d2.data.images import ImageReadError
from ovseg_d2.data.readers import read_captions, read_category, read_labels, read_picture

LABELS = np.array([[0, 1, 255], [7, 0, 2]], dtype=np.uint8)


def test_virtual_names():
    np.testing.assert_array_equal(
        read_picture("shapes://val/0/1"), shapes.read_image("shapes://val/0/1")
    )
    labels = read_labels("shapes://val/0/1")
    np.testing.assert_array_equal(labels, shapes.read_labels("shapes://val/0/1"))
    assert labels.dtype == np.int64
    labels[0, 0] = 3  # evaluators write into what they are given
    assert shapes.read_labels("shapes://val/0/1")[0, 0] != 3


def test_real_pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), pixels)
    np.testing.assert_array_equal(read_picture(str(tmp_path / "a.png")), pixels)
    with pytest.raises(ImageReadError):
        read_picture(tmp_path / "b.png")


@pytest.mark.parametrize("kind", ["grey", "16 bits", "palette", "tiff"])
@pytest.mark.parametrize("dtype", [int, np.uint8, "int32"])
def test_label_files(tmp_path, kind, dtype):
    file = tmp_path / ("labels.tif" if kind == "tiff" else "labels.png")
    picture = Image.fromarray(LABELS.astype(np.uint16) if kind == "16 bits" else LABELS)
    if kind == "palette":
        picture.putpalette([value for i in range(256) for value in (i, 255 - i, 9)])
        assert picture.mode == "P"
    picture.save(file)
    labels = read_labels(file, dtype=dtype)
    np.testing.assert_array_equal(labels, LABELS)
    assert labels.dtype == np.dtype(dtype)
    labels[0, 0] = 1


def test_ids_beyond_8_bits(tmp_path):
    labels = np.array([[846, 65535]], dtype=np.uint16)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.png"), labels)


def test_missing_label_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="label file '.*none.png' does not exist; check"):
        read_labels(tmp_path / "none.png")


@pytest.mark.parametrize("content", [b"", b"text", "cut"])
def test_label_file_that_is_no_picture(tmp_path, content):
    file = tmp_path / "labels.png"
    if content == "cut":
        Image.fromarray(np.random.default_rng(0).integers(0, 99, (64, 64), dtype="u1")).save(file)
        content = file.read_bytes()[:-200]
    file.write_bytes(content)
    with pytest.raises(ValueError, match="label file '.*labels.png' cannot be read"):
        read_labels(file)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "F"])
def test_label_file_that_is_no_label_map(tmp_path, mode):
    file = tmp_path / "labels.tif"
    Image.fromarray(LABELS).convert(mode).save(file)
    with pytest.raises(ValueError, match="label maps have one channel that holds class ids"):
        read_labels(file)


def test_label_file_larger_than_pillow_trusts(tmp_path, monkeypatch):
    Image.fromarray(LABELS).save(tmp_path / "labels.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(ValueError, match="labels.png' cannot be read .*decompression bomb"):
        read_labels(tmp_path / "labels.png")


def test_captions_and_classes_of_entries():
    name = "shapes://dev/0/5"
    assert read_captions({"file_name": name}) == shapes.read_captions(name)
    assert read_captions({"file_name": name, "captions": ["a dog"]}) == ["a dog"]
    assert read_category({"file_name": name}) == shapes.read_crop(name)[1]
    assert read_category({"file_name": name, "category_id": 0}) == 0
    for captions in (None, [], "a dog"):
        with pytest.raises(ValueError, match="a.png: its captions are .*; add a list of texts"):
            read_captions({"file_name": "a.png", "captions": captions})
    for category in (None, "dog", 1.5):
        with pytest.raises(ValueError, match="a.png: its class is .*; add the number of a class"):
            read_category({"file_name": "a.png", "category_id": category})
