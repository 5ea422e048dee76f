"""The contract of ovseg_d2.d2.utils.visualizer: holds on detectron2 and on the stand-in alike."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.utils.visualizer import ColorMode, Visualizer

if HAS_DETECTRON2:
    pytest.importorskip("matplotlib")

GROUND = (10, 20, 30)
RED, BLUE = (255, 0, 0), (0, 0, 255)
METADATA = SimpleNamespace(stuff_classes=["red thing", "blue thing"], stuff_colors=[RED, BLUE])
# Points well inside the left and the right half of the picture.
LEFT, RIGHT = (30, 20), (30, 80)


@pytest.fixture
def img():
    return np.full((60, 100, 3), GROUND, dtype=np.uint8)


@pytest.fixture
def labels():
    """Class 1 on the left half, nothing on the right."""
    labels = np.full((60, 100), 255)
    labels[:, :50] = 1
    return labels


def draw(img, labels, metadata=METADATA, scale=1.0, **kwargs):
    kwargs.setdefault("draw_text", False)
    return Visualizer(img, metadata, scale=scale).draw_sem_seg(labels, **kwargs).get_image()


def blend(color, alpha):
    return [alpha * c + (1 - alpha) * g for c, g in zip(color, GROUND, strict=True)]


@pytest.mark.parametrize("alpha", [0.3, 0.8])
def test_colours_classes_and_leaves_the_ignored(img, labels, alpha):
    drawn = draw(img, labels, alpha=alpha)
    assert drawn.shape == (60, 100, 3)
    assert drawn.dtype == np.uint8
    assert drawn[LEFT].tolist() == pytest.approx(blend(BLUE, alpha), abs=2)
    assert tuple(drawn[RIGHT]) == GROUND


def test_default_alpha(img, labels):
    assert draw(img, labels)[LEFT].tolist() == pytest.approx(blend(BLUE, 0.8), abs=2)


def test_the_picture_stays_as_it_is(img, labels):
    draw(img, labels)
    assert (img == GROUND).all()


def test_tensors_and_several_classes(img, labels):
    labels[:, 50:] = 0
    drawn = draw(img, torch.from_numpy(labels))
    assert drawn[LEFT].tolist() == pytest.approx(blend(BLUE, 0.8), abs=2)
    assert drawn[RIGHT].tolist() == pytest.approx(blend(RED, 0.8), abs=2)


def test_labels_beyond_the_names_are_not_drawn(img, labels):
    labels[:, 50:] = 2
    drawn = draw(img, labels, draw_text=True)
    assert tuple(drawn[RIGHT]) == GROUND


def test_holes_stay_open(img):
    labels = np.zeros((60, 100), dtype=np.int64)
    labels[20:40, 70:90] = 255
    drawn = draw(img, labels)
    assert drawn[LEFT].tolist() == pytest.approx(blend(RED, 0.8), abs=2)
    assert tuple(drawn[RIGHT]) == GROUND


def test_scale(img, labels):
    drawn = draw(img, labels, scale=2.0)
    assert drawn.shape == (120, 200, 3)
    assert drawn[60, 40].tolist() == pytest.approx(blend(BLUE, 0.8), abs=2)
    assert tuple(drawn[60, 160]) == GROUND


def test_small_areas_are_left_out(img, labels):
    labels[25:35, 75:85] = 0  # 100 pixels
    # A region's polygon runs through the centres of its border pixels, and so is a little smaller.
    drawn = draw(img, labels, area_threshold=150)
    assert tuple(drawn[RIGHT]) == GROUND
    assert drawn[LEFT].tolist() == pytest.approx(blend(BLUE, 0.8), abs=2)
    assert tuple(draw(img, labels, area_threshold=50)[RIGHT]) != GROUND


def test_text_is_written(img, labels):
    plain, written = draw(img, labels), draw(img, labels, draw_text=True)
    changed = (plain != written).any(axis=-1)
    assert changed.any()
    assert written[changed].max() > 150  # the letters
    assert written[changed].min() < 60  # their background


def test_without_colours(img, labels):
    drawn = draw(img, labels, SimpleNamespace(stuff_classes=["a", "b"]))
    assert tuple(drawn[LEFT]) != GROUND
    assert tuple(drawn[RIGHT]) == GROUND


def test_without_names(img, labels):
    with pytest.raises(AttributeError, match="stuff_classes"):
        draw(img, labels, SimpleNamespace())


def test_values_out_of_range_are_clipped(labels):
    img = np.full((60, 100, 3), 300.0)
    assert draw(img, labels)[RIGHT].tolist() == [255, 255, 255]


def test_save(img, labels, tmp_path):
    output = Visualizer(img, METADATA).draw_sem_seg(labels, draw_text=False)
    output.save(str(tmp_path / "drawn.png"))
    saved = np.asarray(Image.open(tmp_path / "drawn.png").convert("RGB"))
    assert saved[LEFT].tolist() == output.get_image()[LEFT].tolist()


def test_color_modes():
    assert [mode.name for mode in ColorMode] == ["IMAGE", "SEGMENTATION", "IMAGE_BW"]


@pytest.mark.skipif(HAS_DETECTRON2, reason="of the stand-in alone")
class TestStandIn:
    def test_metadata_is_needed(self, img, labels):
        with pytest.raises(AttributeError, match="stuff_classes"):
            draw(img, labels, None)

    def test_a_class_keeps_its_colour(self, img, labels):
        metadata = SimpleNamespace(stuff_classes=["a", "b"])
        first, second = draw(img, labels, metadata), draw(img, labels, metadata)
        assert (first == second).all()
        labels[labels == 1] = 0
        assert tuple(draw(img, labels, metadata)[LEFT]) != tuple(first[LEFT])

    @pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
    def test_text_stays_inside(self, img, corner):
        def count_changed(pixel):
            labels = np.full((60, 100), 255)
            labels[pixel] = 0
            return (draw(img, labels, draw_text=True) != GROUND).any(axis=-1).sum()

        # The margin around the letters, a pixel wide, may be cut off.
        assert count_changed(corner) > 0.8 * count_changed((30, 50)) > 100

    def test_colormap(self):
        from ovseg_d2.d2.standin.utils.colormap import colormap

        colors = colormap(rgb=True)
        assert colors.shape == (72, 3) and colors.dtype == np.float32
        assert len(np.unique(colors.round(), axis=0)) == 72
        assert 0 <= colors.min() and 200 < colors.max() <= 255
        np.testing.assert_array_equal(colormap(rgb=False), colors[:, ::-1])
        np.testing.assert_allclose(colormap(rgb=True, maximum=1) * 255, colors, rtol=1e-6)
        with pytest.raises(AssertionError):
            colormap(maximum=100)
