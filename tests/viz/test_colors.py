"""Colours: far apart and stable."""

import numpy as np
from skimage.color import rgb2lab

from ovseg_d2.viz import class_colors
from ovseg_d2.viz.colors import _to_lab
from ovseg_d2.vocab import Vocabulary


def test_to_lab_equals_another_library() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (500, 3), dtype=np.uint8)
    np.testing.assert_allclose(_to_lab(rgb), rgb2lab(rgb), atol=0.05)


def test_class_colors_depend_on_the_index_only() -> None:
    many = class_colors([str(i) for i in range(600)])
    assert many.shape == (600, 3)
    assert many.dtype == np.uint8
    for count in (0, 1, 7, 256, 257):
        few = class_colors([f"other {i}" for i in range(count)])
        np.testing.assert_array_equal(few, many[:count])


def test_class_colors_are_far_apart() -> None:
    lab = rgb2lab(class_colors([""] * 150))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    # A difference of 2.3 is just noticeable.
    assert distance[:20, :20].min() > 35
    assert distance.min() > 10
    assert lab[:, 0].min() > 25
    assert lab[:, 0].max() < 95


def test_class_colors_of_a_vocabulary_and_of_5000_classes() -> None:
    vocabulary = Vocabulary.parse("a, b, c")
    np.testing.assert_array_equal(class_colors(vocabulary), class_colors(["x", "y", "z"]))
    assert class_colors([""] * 5000).shape == (5000, 3)


def test_class_colors_returns_a_copy() -> None:
    first = class_colors(["a"])
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(class_colors(["a"]), kept)
