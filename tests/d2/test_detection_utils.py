"""The contract of reading images: holds on detectron2 and on the stand-in alike."""

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.data import transforms as T
from ovseg_d2.d2.data.detection_utils import (
    SizeMismatchError,
    build_augmentation,
    check_image_size,
    read_image,
)


@pytest.fixture
def rgb():
    return np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10


@pytest.fixture
def rgb_path(rgb, tmp_path):
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    return str(tmp_path / "rgb.png")


def test_read_image_in_each_format(rgb, rgb_path):
    assert np.array_equal(read_image(rgb_path, "RGB"), rgb)
    assert np.array_equal(read_image(rgb_path, format="BGR"), rgb[:, :, ::-1])
    assert np.array_equal(read_image(rgb_path), rgb)
    grey = read_image(rgb_path, "L")
    assert grey.shape == (2, 4, 1)
    # Pillow's luma of the first pixel, (0, 10, 20): 0.587 * 10 + 0.114 * 20 = 8.15
    assert grey[0, 0, 0] == 8


def test_read_image_keeps_the_mode_of_the_file(tmp_path):
    labels = np.array([[0, 1], [2, 300]], dtype=np.uint16)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    assert read_image(str(tmp_path / "labels.png")).tolist() == labels.tolist()
    grey = labels.astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(str(tmp_path / "grey.png"), "RGB"), np.dstack([grey] * 3))


def test_read_image_cannot_be_written_to(rgb_path):
    for format in ("RGB", "BGR", "L"):
        assert not read_image(rgb_path, format).flags.writeable


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a.transpose(1, 0, 2), 2)),
        (8, np.rot90),
    ],
)
def test_read_image_turns_it_the_right_way_up(rgb, tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = str(tmp_path / "turned.png")
    Image.fromarray(rgb).save(path, exif=exif)
    assert np.array_equal(read_image(path, "RGB"), upright(rgb))


def test_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(str(tmp_path / "nowhere.png"))


def test_check_image_size_fills_in(rgb):
    sample = {}
    check_image_size(sample, rgb)
    assert sample == {"width": 4, "height": 2}
    check_image_size(sample, rgb)
    assert sample == {"width": 4, "height": 2}


def test_check_image_size_objects(rgb):
    sample = {"file_name": "a.png", "width": 2, "height": 4}
    with pytest.raises(SizeMismatchError, match=r"a\.png.*\(4, 2\).*\(2, 4\)"):
        check_image_size(sample, rgb)
    assert issubclass(SizeMismatchError, ValueError)


def _build_cfg(**inputs):
    cfg = get_cfg()
    for key, value in inputs.items():
        cfg.INPUT[key] = value
    return cfg


def test_augmentation_of_training():
    image = np.zeros((50, 100, 3), dtype=np.uint8)
    cfg = _build_cfg(MIN_SIZE_TRAIN=(10, 20), MAX_SIZE_TRAIN=30)
    resize, flip = build_augmentation(cfg, True)
    sizes = set()
    for _ in range(30):
        tfm = resize.get_transform(image)
        sizes.add((tfm.new_h, tfm.new_w))
    assert sizes == {(10, 20), (15, 30)}
    assert isinstance(flip, T.RandomFlip)
    assert (flip.prob, flip.horizontal, flip.vertical) == (0.5, True, False)


def test_augmentation_of_training_draws_from_a_range():
    cfg = _build_cfg(MIN_SIZE_TRAIN=(10, 20), MIN_SIZE_TRAIN_SAMPLING="range")
    resize, _ = build_augmentation(cfg, True)
    image = np.zeros((50, 50, 3), dtype=np.uint8)
    drawn = {resize.get_transform(image).new_h for _ in range(300)}
    assert drawn == set(range(10, 21))


def test_augmentation_flips_as_told():
    _, flip = build_augmentation(_build_cfg(RANDOM_FLIP="vertical"), True)
    assert (flip.horizontal, flip.vertical) == (False, True)
    assert len(build_augmentation(_build_cfg(RANDOM_FLIP="none"), True)) == 1


def test_augmentation_of_testing_only_resizes():
    (resize,) = build_augmentation(_build_cfg(MIN_SIZE_TEST=10, MAX_SIZE_TEST=15), False)
    tfm = resize.get_transform(np.zeros((50, 100, 3), dtype=np.uint8))
    # 10 x 20 would be longer than 15, hence 7.5 x 15, rounded up.
    assert (tfm.new_h, tfm.new_w) == (8, 15)
