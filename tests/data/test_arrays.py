import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.data.arrays import as_rgb
from ovseg_d2.data.images import read_image

RGB = np.random.default_rng(3).integers(0, 256, (7, 9, 3), dtype=np.uint8)
ALPHA = np.random.default_rng(4).integers(0, 256, (7, 9, 1), dtype=np.uint8)


def forms(levels):
    """Arrays and tensors of the same image, from (H, W, C) uint8."""
    first = levels.transpose(2, 0, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(first))
    yield levels
    yield first
    yield tensor
    yield torch.from_numpy(levels)
    for dtype in (torch.float32, torch.float64):
        yield tensor.to(dtype) / 255
        yield (tensor.to(dtype) / 255).numpy()
    if levels.shape[2] == 1:
        yield levels[..., 0]
        yield tensor[0]


def test_as_rgb_rgb_in_every_form():
    for form in forms(RGB):
        pixels = as_rgb(form)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, RGB)
    assert as_rgb(RGB) is RGB


def test_as_rgb_half_precision():
    floats = torch.from_numpy(RGB).permute(2, 0, 1) / 255
    for dtype, tolerance in ((torch.float16, 0), (torch.bfloat16, 1)):
        pixels = as_rgb(floats.to(dtype).requires_grad_())
        assert abs(pixels.astype(int) - RGB).max() <= tolerance


def test_as_rgb_grey_in_every_form():
    for form in forms(ALPHA):
        np.testing.assert_array_equal(as_rgb(form), np.repeat(ALPHA, 3, axis=2))


def test_as_rgb_transparency_equals_that_of_files(tmp_path):
    rgba = np.concatenate([RGB, ALPHA], axis=2)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    for form in [*forms(rgba), Image.fromarray(rgba)]:
        pixels, expected = as_rgb(form).astype(int), read_image(tmp_path / "a.png")
        assert abs(pixels - expected).max() <= isinstance(form, Image.Image)


def test_as_rgb_refuses_ambiguous_channels():
    for shape in ((3, 8, 3), (4, 8, 3), (1, 1, 1), (3, 2, 4)):
        with pytest.raises(ValueError, match="channels may be the first or the last"):
            as_rgb(torch.zeros(shape))
    assert as_rgb(np.zeros((3, 8, 3), np.uint8)).shape == (3, 8, 3)
    with pytest.raises(ValueError, match="channels may be the first or the last"):
        as_rgb(np.zeros((3, 8, 4), np.uint8))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), "a batch; give a list of its images"),
        (np.zeros((8, 8, 2), np.uint8), r"shape \(8, 8, 2\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\)"),
        (torch.zeros(3, 0, 5), r"shape \(3, 0, 5\)"),
        (np.zeros((8, 8, 3), np.uint16), "dtype uint16"),
        (np.zeros((8, 8, 3), np.int64), "dtype int64"),
        (np.zeros((8, 8), bool), "dtype bool"),
        (torch.full((3, 8, 8), 255.0), "floats from 255 to 255; bring them to 0..1"),
        (np.full((8, 8, 3), -0.1), "floats from -0.1 to -0.1"),
        (np.full((8, 8, 3), np.nan), "floats from nan to nan"),
        (np.full((8, 8, 3), np.inf), "floats from inf to inf"),
        (Image.new("I;16", (4, 5)), "mode 'I;16'"),
        (None, "a NoneType"),
        ([[1]], "a list"),
        (b"bytes", "a bytes"),
        ({"image": 1}, "a dict"),
    ],
)
def test_as_rgb_refuses_other_values(image, message):
    with pytest.raises(ValueError, match=message) as caught:
        as_rgb(image)
    assert "give" in str(caught.value) and "\n" not in str(caught.value)
