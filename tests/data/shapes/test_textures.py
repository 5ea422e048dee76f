"""Textures, patterns and outlines of the Shapes world."""

import numpy as np
import pytest

from ovseg_d2.data.shapes.classes import GROUNDS, OUTLINES, PATTERNS
from ovseg_d2.data.shapes.textures import draw_ground, draw_pattern, outline_margin

VV, UU = np.mgrid[0:64, 0:64].astype(np.float32)


@pytest.mark.parametrize("name", GROUNDS)
def test_draw_ground_is_textured(name):
    pixels = draw_ground(name, UU, VV, 1.0)
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 255
    assert pixels.std(axis=(0, 1)).min() > 1


def test_draw_ground_means_differ():
    means = np.array([draw_ground(name, UU, VV, 1.0).mean(axis=(0, 1)) for name in GROUNDS])
    distances = np.abs(means[:, None] - means[None]).max(axis=2) + 255 * np.eye(len(GROUNDS))
    assert distances.min() > 10


@pytest.mark.parametrize("name", PATTERNS)
def test_draw_pattern_mixes_two_tones(name):
    share = draw_pattern(name, UU, VV, 8.0)
    assert share.min() == 0
    assert share.max() == 1
    assert 0.2 < share.mean() < 0.8


def test_draw_pattern_stripes():
    share = draw_pattern("stripes", UU, VV, 8.0)
    np.testing.assert_allclose(share[:, 8:], share[:, :-8], atol=1e-4)
    np.testing.assert_array_equal(share, np.broadcast_to(share[:1], share.shape))
    np.testing.assert_allclose(draw_pattern("stripes", np.array([2.0, 6.0]), 0.0, 8.0), [1, 0])


def test_draw_pattern_dots():
    share = draw_pattern("dots", UU, VV, 8.0)
    np.testing.assert_allclose(share[:, 8:], share[:, :-8], atol=1e-4)
    np.testing.assert_allclose(share[8:], share[:-8], atol=1e-4)


@pytest.mark.parametrize("name", [*OUTLINES, "disc", "hexagon", "blob"])
def test_outline_margin_ends_near_the_radius(name):
    y, x = np.mgrid[-1.5:1.5:121j, -1.5:1.5:121j]
    inside = outline_margin(name, x, y) > 0
    radius = np.hypot(x, y)
    assert 0.8 < radius[inside].max() < 1.25
    # Every outline covers a fair part of its disc.
    assert 0.25 < inside.sum() / (radius < 1).sum() < 1.2


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("disc", (0.0, 0.9), (0.7, 0.7)),
        ("square", (0.8, 0.8), (0.9, 0.0)),
        ("ring", (0.0, 0.8), (0.0, 0.0)),
        ("cross", (0.0, 0.95), (0.6, 0.6)),
        ("triangle", (0.0, -1.0), (0.0, 0.7)),
        ("star", (0.0, -1.0), (0.0, 0.7)),
        ("hexagon", (0.0, 0.85), (0.95, 0.95)),
        ("blob", (0.0, 0.0), (1.0, 1.0)),
    ],
)
def test_outline_margin_signs(name, inside, outside):
    """Points are (x, y) with y downwards: triangles and stars point up."""
    assert outline_margin(name, np.array(inside[0]), np.array(inside[1])) > 0
    assert outline_margin(name, np.array(outside[0]), np.array(outside[1])) < 0


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (lambda: draw_ground("lava", UU, VV, 1.0), "ground"),
        (lambda: draw_pattern("plaid", UU, VV, 8.0), "pattern"),
        (lambda: outline_margin("heart", UU, VV), "outline"),
    ],
)
def test_textures_refuse_unknown_names(draw, kind):
    with pytest.raises(ValueError, match=f"{kind} '.*' is not one of the Shapes world's"):
        draw()
