"""Mask sources by name."""

import numpy as np
import pytest

from ovseg_d2.data import shapes
from ovseg_d2.data.masks import MASK_SOURCES, ShapesRegions, build_mask_source
from ovseg_d2.masks import Felzenszwalb, MaskFileError, MaskFolder, write_masks

NAME = "shapes://dev/0/3"


def test_exact_regions():
    image, regions = shapes.read_image(NAME), shapes.read_regions(NAME)
    masks = ShapesRegions()(image, NAME)
    assert masks.shape == (len(np.unique(regions)), 96, 96)
    assert np.array_equal(masks.argmax(axis=0), np.unique(regions, return_inverse=True)[1])
    assert (masks.sum(axis=0) == 1).all()


def test_only_the_shapes_world_has_exact_regions():
    with pytest.raises(ValueError, match="'a.jpg' has no exact regions: .*choose another source"):
        ShapesRegions()(np.zeros((2, 2, 3), np.uint8), "a.jpg")


def test_sources_by_name(tmp_path):
    image = shapes.read_image(NAME)
    assert isinstance(build_mask_source("shapes"), ShapesRegions)
    built = build_mask_source("felzenszwalb", scale=50.0, min_size=5)(image)
    assert np.array_equal(built, Felzenszwalb(scale=50.0, min_size=5)(image))
    dino = build_mask_source("dino", model="vit_tiny_patch16_224", weights="random", num_clusters=2)
    assert dino(image).shape == (2, 96, 96)
    write_masks(tmp_path / "a.json", built)
    assert isinstance(build_mask_source("stored", folder=tmp_path), MaskFolder)


BAD = {
    "name": ("nope", {}, "mask source 'nope' is unknown; choose one of shapes, felzenszwalb"),
    "option": ("shapes", {"scale": 1}, "'shapes' has no option 'scale'; it has: none"),
    "other option": ("felzenszwalb", {"size": 1}, "no option 'size'; it has: scale, sigma, min_s"),
    "checkpoint": ("sam", {}, "mask source 'sam' needs the option 'checkpoint'; give it a value"),
    "missing option": ("stored", {}, "mask source 'stored' needs the option 'folder'"),
    "type": ("felzenszwalb", {"scale": "x"}, "does not take .*'x'.*; check the options' types"),
    "value": ("felzenszwalb", {"scale": 0}, "give a scale above 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sources(case):
    name, options, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        build_mask_source(name, **options)


def test_the_sources_own_refusal_comes_through(tmp_path):
    with pytest.raises(MaskFileError, match="holds no masks"):
        build_mask_source("stored", folder=str(tmp_path))
    # What a trained model proposes is added by prepare.mask_job, where models can be built.
    own = set(MASK_SOURCES) - {"maskformer"}
    assert own == {"shapes", "felzenszwalb", "dino", "sam", "stored"}
