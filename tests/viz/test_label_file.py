"""Label files, read back with two libraries."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.viz import class_colors, save_labels


def test_save_labels_8_bit_round_trip_with_palette(tmp_path: Path) -> None:
    labels = torch.tensor([[0, 1, 2], [255, 149, 0]])
    path = tmp_path / "new" / "labels.png"
    save_labels(path, labels, num_classes=150)
    with Image.open(path) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels.numpy())
        colors = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colors[0], class_colors(["a", "b", "c"]))
    assert colors[1, 0].tolist() == [255, 255, 255]


def test_save_labels_255_as_a_class_has_its_colour(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    save_labels(path, np.array([[255]]), num_classes=256)
    with Image.open(path) as image:
        assert image.convert("RGB").getpixel((0, 0)) == tuple(class_colors([""] * 256)[255])


@pytest.mark.parametrize("num_classes", [None, 847])
def test_save_labels_16_bit_round_trip(tmp_path: Path, num_classes: int | None) -> None:
    labels = np.array([[0, 256, 846], [65535, 1, 2]])
    path = tmp_path / "labels.png"
    save_labels(path, labels, num_classes=num_classes)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), labels)
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), labels)


def test_save_labels_depth_depends_on_num_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.png"
    depths = []
    for num_classes in (None, 256, 257):
        save_labels(path, np.zeros((2, 2), np.int64), num_classes=num_classes)
        depths.append(path.read_bytes()[24])  # bit depth, byte 24 of every PNG
    assert depths == [8, 8, 16]


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("a.jpg", np.zeros((2, 2), int), "give a path that ends in .png"),
        ("a.png", np.zeros((2, 2)), "dtype float64"),
        ("a.png", np.zeros((1, 2, 2), int), r"shape \(1, 2, 2\)"),
        ("a.png", np.zeros((0, 2), int), r"shape \(0, 2\)"),
        ("a.png", np.array([[-1, 0]]), "labels hold -1"),
        ("a.png", np.array([[65536, 0]]), "labels hold 65536"),
    ],
)
def test_save_labels_refuses_without_writing(
    tmp_path: Path, name: str, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save_labels(tmp_path / name, labels)
    assert list(tmp_path.iterdir()) == []


def test_save_labels_keeps_the_old_file_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.png"
    save_labels(path, np.array([[3]]))
    before = path.read_bytes()

    def fail(self: Image.Image, file: object, **kwargs: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("stopped")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        save_labels(path, np.array([[4]]))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["labels.png"]
