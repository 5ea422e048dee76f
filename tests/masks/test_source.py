"""Masks from a folder, and cached masks."""

import numpy as np
import pytest

from ovseg_d2.masks import CachedMasks, MaskFileError, MaskFolder, write_masks

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_folder_looks_masks_up_by_image_name(tmp_path):
    masks = np.random.default_rng(1).random((3, 6, 9)) < 0.5
    write_masks(tmp_path / "a.json", masks)
    write_masks(tmp_path / "shapes_val_0_1.json", ~masks)
    source = MaskFolder(tmp_path)
    assert np.array_equal(source(IMAGE, "elsewhere/a.jpg"), masks)
    assert np.array_equal(source(IMAGE, "shapes://val/0/1"), ~masks)
    with pytest.raises(MaskFileError, match="b.json: there is no such file"):
        source(IMAGE, "b.jpg")
    with pytest.raises(MaskFileError, match="a.json: its masks are 6 x 9 .* image is 3 x 9"):
        source(IMAGE[:3], "a.jpg")


def test_folder_refuses_a_folder_without_masks(tmp_path):
    (tmp_path / "a.jpg").touch()
    words = "holds no masks [(].json files[)]; fill it with tools/generate_masks.py"
    with pytest.raises(MaskFileError, match=words):
        MaskFolder(tmp_path)
    with pytest.raises(MaskFileError, match="there is no folder of masks '.*none'; fill it with"):
        MaskFolder(tmp_path / "none")


class Thresholds:
    """Counts its calls; three masks an image."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        self.calls += 1
        return np.stack([image[..., 0] > level for level in (10, 100, 200)])


def test_cache_is_keyed_by_content():
    source = Thresholds()
    cached = CachedMasks(source, max_bytes=1000)
    first = cached(IMAGE, "a")
    assert np.array_equal(cached(IMAGE.copy(), "b"), first)
    assert source.calls == 1
    other = IMAGE.copy()
    other[0, 0, 0] ^= 255
    assert not np.array_equal(cached(other, "a"), first)
    assert source.calls == 2
    # The same bytes in another shape are another image.
    assert cached(IMAGE.reshape(9, 6, 3), "a").shape == (3, 9, 6)
    assert source.calls == 3


def test_cache_returns_copies():
    cached = CachedMasks(Thresholds(), max_bytes=1000)
    expected = Thresholds()(IMAGE)
    cached(IMAGE)[:] = False
    cached(IMAGE)[:] = False
    assert np.array_equal(cached(IMAGE), expected)
    assert cached(IMAGE).dtype == bool


def test_cache_drops_the_least_recently_used():
    source = Thresholds()
    # 3 * 6 * 9 bits are 21 bytes: room for two images.
    cached = CachedMasks(source, max_bytes=42)
    a, b, c = (IMAGE ^ np.uint8(flip) for flip in (0, 1, 2))
    for image in (a, b, a, c):
        cached(image)
    assert source.calls == 3
    cached(a)
    assert source.calls == 3
    cached(b)
    assert source.calls == 4


def test_cache_of_size_zero_works():
    source = Thresholds()
    cached = CachedMasks(source, max_bytes=1)
    assert np.array_equal(cached(IMAGE), cached(IMAGE))
    assert source.calls == 2
