"""`draw_overlay`: tint, legend, layout and errors."""

from typing import Any

import numpy as np
import pytest
import torch

from ovseg_d2.viz import class_colors, draw_overlay
from ovseg_d2.vocab import Vocabulary

_Drawn = list[tuple[tuple[float, float, float, float], str]]


def _image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _stripes(height: int, width: int, num_classes: int) -> np.ndarray:
    return np.broadcast_to(np.arange(width) % num_classes, (height, width)).copy()


def test_draw_overlay_tint_is_the_weighted_mean() -> None:
    image, labels = _image(300, 260), _stripes(300, 260, 3)
    labels[:50] = 255
    canvas = np.asarray(draw_overlay(image, labels, ["a", "b", "c"], alpha=0.25))
    expected = 0.75 * image[50:] + 0.25 * class_colors(["a", "b", "c"])[labels[50:]]
    np.testing.assert_allclose(canvas[50:300, :260].astype(float), expected, atol=1)
    np.testing.assert_array_equal(canvas[:50, :260], image[:50])


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_draw_overlay_at_alpha_0_and_1(alpha: float) -> None:
    image, labels = _image(256, 256), _stripes(256, 256, 2)
    canvas = np.asarray(draw_overlay(image, labels, ["a", "b"], alpha=alpha))
    expected = image if alpha == 0 else class_colors(["a", "b"])[labels]
    np.testing.assert_array_equal(canvas[:256, :256], expected)


def test_draw_overlay_legend_lists_classes_largest_first(drawn: _Drawn) -> None:
    labels = np.full((300, 400), 255)
    labels[:, :100] = 2  # 30000 pixels
    labels[:, 100:110] = 0  # 3000 pixels
    labels[0, 110] = 3  # 1 pixel, of 33001
    vocabulary = Vocabulary.parse("sky, grass, sea, red star")
    draw_overlay(_image(300, 400), torch.from_numpy(labels), vocabulary)
    assert [text for _, text in drawn] == ["sea", "90.9 %", "sky", "9.1 %", "red star", "<0.1 %"]


def test_draw_overlay_swatches_have_the_class_colours() -> None:
    canvas = np.asarray(draw_overlay(_image(256, 256), _stripes(256, 256, 4), list("abcd")))
    legend = {tuple(color) for color in canvas[256:].reshape(-1, 3).tolist()}
    assert {tuple(color) for color in class_colors(list("abcd")).tolist()} <= legend


def test_draw_overlay_without_labelled_pixels(drawn: _Drawn) -> None:
    image = _image(256, 300)
    canvas = draw_overlay(image, np.full((256, 300), 255), ["sky"])
    assert [text for _, text in drawn] == ["no labelled pixel"]
    np.testing.assert_array_equal(np.asarray(canvas)[:256], image)


def test_draw_overlay_shortens_names_and_removes_line_breaks(drawn: _Drawn) -> None:
    name = "a very long name " * 20
    draw_overlay(_image(256, 256), _stripes(256, 256, 2), [name, "two\nlines"])
    names = [text for _, text in drawn if "%" not in text]
    assert names[0].endswith("…")
    assert name.startswith(names[0][:-1])
    assert len(names[0]) > 15
    assert names[1] == "two lines"


@pytest.mark.parametrize(
    ("size", "num_classes"),
    [
        ((1, 1), 1),
        ((40, 1), 30),
        ((1, 700), 30),
        ((700, 1), 1),
        ((96, 96), 8),
        ((300, 600), 150),
        ((1200, 2600), 40),
    ],
)
def test_draw_overlay_texts_lie_inside_without_overlap(
    size: tuple[int, int], num_classes: int, check_layout: Any
) -> None:
    names = [f"class number {i}" + " with a tail" * (i % 7) for i in range(num_classes)]
    labels = _stripes(*size, num_classes)
    check_layout(draw_overlay(_image(*size), labels, names))


def test_draw_overlay_legend_of_many_classes_is_bounded(drawn: _Drawn) -> None:
    canvas = draw_overlay(_image(300, 600), _stripes(300, 600, 150), [f"n{i}" for i in range(150)])
    assert canvas.width == 600
    assert canvas.height <= 2 * 300 + 20
    # Three columns of 16 rows, as tall as the image; the last place is for the rest.
    assert len(drawn) % 2 == 0
    listed = len(drawn) // 2 - 1
    assert listed == 3 * 16 - 1
    assert drawn[-2][1] == f"and {150 - listed} more"
    assert drawn[-1][1] == f"{100 * (150 - listed) / 150:.1f} %"


def test_draw_overlay_legend_sums_up_the_smallest_classes(drawn: _Drawn) -> None:
    draw_overlay(_image(1, 40), _stripes(1, 40, 40), [f"a longer name {i}" for i in range(40)])
    texts = [text for _, text in drawn]
    assert texts[:2] == ["a longer name 0", "2.5 %"]
    more = next(text for text in texts if text.startswith("and "))
    count = int(more.split()[1])
    assert texts[-1] == f"{2.5 * count:.1f} %"
    assert len(texts) == 2 * (40 - count) + 2


@pytest.mark.parametrize(
    ("size", "shown"), [((96, 64), (192, 128)), ((300, 20), (300, 40)), ((1, 500), (24, 500))]
)
def test_draw_overlay_enlarges_small_images(size: tuple[int, int], shown: tuple[int, int]) -> None:
    image = _image(*size)
    canvas = np.asarray(draw_overlay(image, np.zeros(size, int), ["a"], alpha=0))
    factor_h, factor_w = shown[0] // size[0], shown[1] // size[1]
    expected = image.repeat(factor_h, axis=0).repeat(factor_w, axis=1)
    np.testing.assert_array_equal(canvas[: shown[0], : shown[1]], expected)


def test_draw_overlay_of_300_classes() -> None:
    labels = np.full((256, 256), 255)
    canvas = draw_overlay(
        _image(256, 256), labels, [f"n{i}" for i in range(300)], alpha=1, ignore_label=None
    )
    color = class_colors([""] * 300)[255]
    np.testing.assert_array_equal(np.asarray(canvas)[:256, :256], np.tile(color, (256, 256, 1)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, r"image has shape \(4, 4\)"),
        ({"image": np.zeros((4, 4, 3))}, "dtype float64"),
        ({"image": np.zeros((0, 4, 3), np.uint8)}, r"shape \(0, 4, 3\)"),
        ({"labels": np.zeros((4, 5), int)}, r"labels have shape \(4, 5\)"),
        ({"labels": np.zeros((4, 4))}, "dtype float64"),
        ({"labels": np.full((4, 4), 2)}, "labels hold 2"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"ignore_label": 1}, "ignore_label is 1, which is also the class 'b'"),
    ],
)
def test_draw_overlay_refuses(changes: dict[str, Any], message: str) -> None:
    arguments = {
        "image": np.zeros((4, 4, 3), np.uint8),
        "labels": np.zeros((4, 4), int),
        "vocabulary": ["a", "b"],
    }
    with pytest.raises(ValueError, match=message):
        draw_overlay(**(arguments | changes))
