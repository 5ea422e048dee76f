"""Weak and strong views: against torchvision and by hand."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from ovseg_d2.data.views import StrongView, distort_colors, draw_box

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
SMOOTH = np.linspace(30, 220, 40 * 56 * 3).reshape(40, 56, 3).astype(np.uint8)
NOTHING = {"jitter_prob": 0.0, "grey_prob": 0.0, "blur_prob": 0.0, "cutout": (0.0, 0.0)}


class Scripted:
    """A generator that returns given numbers for `random` and `uniform`, and keeps orders."""

    def __init__(self, *numbers: float) -> None:
        self._numbers = list(numbers)

    def random(self) -> float:
        return self._numbers.pop(0)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._numbers.pop(0)

    def integers(self, high: int) -> int:
        return 0

    def permutation(self, count: int) -> np.ndarray:
        return np.arange(count)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("turn", [(0.2, 0.9, 0.7, 0.1), (0.8, 0.1, 0.3, 0.9), (0.5, 0.5, 0.5, 0.5)])
def test_strong_view_jitter_equals_torchvision(turn):
    view = StrongView(**{**NOTHING, "jitter_prob": 1.0})
    image, _ = view.draw(IMAGE, Scripted(0.0, *turn, 1.0, 1.0, 0.0, 0.0))
    factors = [0.5 + share for share in turn[:3]]
    expected = F.adjust_brightness(tensor(IMAGE), factors[0])
    expected = F.adjust_contrast(expected, factors[1])
    expected = F.adjust_saturation(expected, factors[2])
    expected = F.adjust_hue(expected, -0.25 + 0.5 * turn[3]) * 255
    difference = np.abs(image.transpose(2, 0, 1) - expected.numpy())
    assert difference.max() <= 1.5  # torchvision's weights of grey have four digits


def test_strong_view_grey_equals_torchvision():
    image, _ = StrongView(**{**NOTHING, "grey_prob": 1.0}).draw(IMAGE, rng())
    assert (image == image[..., :1]).all()
    expected = F.rgb_to_grayscale(tensor(IMAGE))[0].numpy() * 255
    assert np.abs(image[..., 0] - expected).max() <= 1


def test_strong_view_blur_equals_torchvision():
    view = StrongView(**{**NOTHING, "blur_prob": 1.0, "blur_sigma": (1.5, 1.5)})
    image, _ = view.draw(IMAGE, rng())
    expected = F.gaussian_blur(tensor(IMAGE), [11, 11], [1.5, 1.5]).numpy() * 255
    assert np.abs(image.transpose(2, 0, 1) - expected).max() <= 1


def test_strong_view_cutout():
    view = StrongView(**{**NOTHING, "cutout": (0.1, 0.5)})
    image, (left, top, right, bottom) = view.draw(SMOOTH, rng())
    inside = np.zeros(SMOOTH.shape[:2], dtype=bool)
    inside[top:bottom, left:right] = True
    assert inside.any()
    assert (image[inside] == 0).all()
    assert np.array_equal(image[~inside], SMOOTH[~inside])


def test_strong_view_without_changes():
    image, (left, top, right, bottom) = StrongView(**NOTHING).draw(IMAGE, rng())
    assert np.array_equal(image, IMAGE)
    assert not np.shares_memory(image, IMAGE)
    assert (right - left) * (bottom - top) == 0


def test_draw_box_sides_and_positions():
    boxes = np.array([draw_box((40, 80), (0.1, 0.5), rng(seed)) for seed in range(800)])
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 80).all()
    assert (boxes[:, 3] <= 40).all()
    assert (widths.min(), widths.max()) == (8, 40)
    assert (heights.min(), heights.max()) == (4, 20)
    assert boxes[:, 0].min() == boxes[:, 1].min() == 0
    assert boxes[:, 2].max() == 80
    assert boxes[:, 3].max() == 40
    assert draw_box((1, 1), (0.5, 1.0), rng())[2:] <= (1, 1)


def test_strong_view_probabilities():
    view = StrongView(cutout=(0.0, 0.0))
    images = [view.draw(SMOOTH, rng(seed))[0] for seed in range(300)]
    grey = np.mean([(image == image[..., :1]).all() for image in images])
    untouched = np.mean([np.array_equal(image, SMOOTH) for image in images])
    # 0.2, and 0.2 * 0.8 * 0.5; the standard deviations are 0.023 and 0.016.
    assert abs(grey - 0.2) < 0.08
    assert 0.03 < untouched < 0.15


@pytest.mark.parametrize("draw", [distort_colors, lambda *x: StrongView().draw(*x)[0]])
def test_views_depend_on_the_generator_alone(draw):
    before = IMAGE.copy()
    views = []
    for _ in range(2):
        np.random.seed(len(views))
        torch.manual_seed(len(views))
        views.append([draw(IMAGE, rng(seed)) for seed in range(5)])
    assert np.array_equal(views[0], views[1])
    assert len({view.tobytes() for view in views[0]}) == 5
    assert np.array_equal(IMAGE, before)
    assert all(view.dtype == np.uint8 and view.shape == IMAGE.shape for view in views[0])


def test_distort_colors_by_hand():
    grey = np.full((1, 1, 3), 100, dtype=np.uint8)
    # Brightness + 16; contrast x 1.25, before; no change of saturation and hue.
    script = (0.0, 0.75, 0.0, 0.75, 0.0, 1.0, 1.0)
    assert distort_colors(grey, Scripted(*script))[0, 0].tolist() == [145] * 3
    red = np.array([[[200, 100, 100]]], dtype=np.uint8)
    # HSV's saturation from 0.5 to 0.25.
    pale = distort_colors(red, Scripted(1.0, 1.0, 1.0, 0.0, 0.0, 1.0))
    assert pale[0, 0].tolist() == [200, 150, 150]
    # Hue by 18 degrees: green rises by 18 / 60 of the range of 100.
    turned = distort_colors(red, Scripted(1.0, 1.0, 1.0, 1.0, 0.0, 1.0))
    assert turned[0, 0].tolist() == [200, 130, 100]


def test_views_of_one_pixel():
    pixel = np.array([[[255, 0, 7]]], dtype=np.uint8)
    for seed in range(30):
        assert distort_colors(pixel, rng(seed)).shape == (1, 1, 3)
        assert StrongView().draw(pixel, rng(seed))[0].shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"jitter": (0.5, 0.5, 0.5)}, "INPUT.VIEWS.JITTER is .*; give 4 numbers from 0 to 1"),
        ({"jitter": (0.5, 0.5, 0.5, 0.6)}, "INPUT.VIEWS.JITTER"),
        ({"jitter_prob": 1.5}, "INPUT.VIEWS.JITTER_PROB is .*; give a number from 0 to 1"),
        ({"grey_prob": -0.1}, "INPUT.VIEWS.GREY_PROB"),
        ({"blur_sigma": (2.0, 0.1)}, "INPUT.VIEWS.BLUR_SIGMA .*, the smaller one first"),
        ({"cutout": (0.5, 1.5)}, "INPUT.VIEWS.CUTOUT .*give 2 numbers from 0 to 1"),
        ({"cutout": ()}, "INPUT.VIEWS.CUTOUT"),
    ],
)
def test_strong_view_options_out_of_range(options, words):
    with pytest.raises(ValueError, match=words):
        StrongView(**options)
