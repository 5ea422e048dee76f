"""Plots are files that hold curves."""

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.viz import plot_curves


def draw(path, points):
    plot_curves(path, {"dev": points}, x_label="iteration", y_label="mIoU (%)", title="t")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_curve_is_drawn_where_its_points_are(tmp_path):
    rising = draw(tmp_path / "up.png", [(0, 0), (10, 10)])
    falling = draw(tmp_path / "down.png", [(0, 10), (10, 0)])
    assert rising.shape == falling.shape
    assert (rising != falling).any()


def test_the_order_of_points_does_not_matter(tmp_path):
    one = draw(tmp_path / "a.png", [(0, 0), (5, 9), (10, 3)])
    other = draw(tmp_path / "b.png", [(10, 3), (0, 0), (5, 9)])
    assert (one == other).all()


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="curves is empty"):
        plot_curves(tmp_path / "none.png", {}, x_label="x", y_label="y")
    assert not list(tmp_path.iterdir())
