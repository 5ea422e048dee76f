"""Exact regions of the Shapes world as masks."""

import numpy as np
import pytest

from ovseg_d2.data import shapes
from ovseg_d2.data.masks import ShapesRegions

NAME = "shapes://dev/0/3"


def test_shapes_regions():
    image, regions = shapes.read_image(NAME), shapes.read_regions(NAME)
    masks = ShapesRegions()(image, NAME)
    assert masks.shape == (len(np.unique(regions)), 96, 96)
    assert np.array_equal(masks.argmax(axis=0), np.unique(regions, return_inverse=True)[1])
    assert (masks.sum(axis=0) == 1).all()


def test_shapes_regions_refuses_other_images():
    with pytest.raises(ValueError, match="'a.jpg' has no exact regions: .*choose another source"):
        ShapesRegions()(np.zeros((2, 2, 3), np.uint8), "a.jpg")
