"""`plot_curves`."""

import numpy as np
import pytest
from PIL import Image

from ovseg_d2.viz import plot_curves

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # the first two colours of matplotlib


def draw(path, points):
    plot_curves(path, {"mIoU (%)": {"dev": points}}, x_label="iteration", title="t")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_plot_curves_draws_the_points(tmp_path):
    rising = draw(tmp_path / "up.png", [(0, 0), (10, 10)])
    falling = draw(tmp_path / "down.png", [(0, 10), (10, 0)])
    assert rising.shape == falling.shape
    assert (rising != falling).any()


def test_plot_curves_sorts_points(tmp_path):
    one = draw(tmp_path / "a.png", [(0, 0), (5, 9), (10, 3)])
    other = draw(tmp_path / "b.png", [(10, 3), (0, 0), (5, 9)])
    assert (one == other).all()


@pytest.mark.parametrize("first", [("one",), ("one", "two")])
def test_plot_curves_keep_colours_across_panels(tmp_path, first):
    points = {"one": [(0, 0), (10, 0)], "two": [(0, 5), (10, 5)]}
    panels = {"a": {name: points[name] for name in first}, "b": {"two": points["two"]}}
    plot_curves(tmp_path / "two.png", panels, x_label="x")
    wide = Image.open(tmp_path / "two.png").convert("RGB")
    assert wide.width > draw(tmp_path / "one.png", points["one"]).shape[1]
    colors = {color for count, color in wide.getcolors(1 << 20) if count > 200}
    assert {color for color in colors if max(color) - min(color) > 60} == {BLUE, ORANGE}


@pytest.mark.parametrize("panels", [{}, {"mIoU (%)": {}}])
def test_plot_curves_refuses_empty_panels(tmp_path, panels):
    with pytest.raises(ValueError, match="give each a curve"):
        plot_curves(tmp_path / "none.png", panels, x_label="x")
    assert not list(tmp_path.iterdir())
