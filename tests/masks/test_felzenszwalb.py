"""Masks by colour: exact on flat images, a partition of any image."""

import numpy as np
import pytest

from ovseg_d2.masks import Felzenszwalb


def test_felzenszwalb_separates_flat_halves_exactly():
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[:, 25:] = (200, 30, 90)
    masks = Felzenszwalb(sigma=0.0)(image)
    left = np.zeros((40, 60), dtype=bool)
    left[:, :25] = True
    assert len(masks) == 2
    assert {mask.tobytes() for mask in masks} == {left.tobytes(), (~left).tobytes()}


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (24, 17)])
def test_felzenszwalb_masks_partition_the_image(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    masks = Felzenszwalb(min_size=5)(image)
    assert masks.dtype == bool
    assert (masks.sum(axis=0) == 1).all()
    assert masks.any(axis=(1, 2)).all()
    assert masks.sum(axis=(1, 2)).min() >= min(5, size[0] * size[1])


def test_felzenszwalb_larger_scale_gives_fewer_masks():
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    counts = [len(Felzenszwalb(scale=scale, min_size=2)(image)) for scale in (1, 100, 1e5)]
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("options", [{"scale": 0}, {"sigma": -1.0}, {"min_size": -1}])
def test_felzenszwalb_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match="give a scale above 0"):
        Felzenszwalb(**options)
