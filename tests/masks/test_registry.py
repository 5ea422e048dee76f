"""Mask sources by name."""

import numpy as np
import pytest

from ovseg_d2.masks import (
    MASK_SOURCES,
    Felzenszwalb,
    MaskFileError,
    MaskFolder,
    build_mask_source,
    option_names,
    write_masks,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def test_build_mask_source_by_name(tmp_path):
    masks = build_mask_source("felzenszwalb", scale=50.0, min_size=5)(IMAGE)
    assert np.array_equal(masks, Felzenszwalb(scale=50.0, min_size=5)(IMAGE))
    dino = build_mask_source("dino", model="vit_tiny_patch16_224", weights="random", num_clusters=2)
    assert dino(IMAGE).shape == (2, 24, 32)
    write_masks(tmp_path / "a.json", masks)
    assert isinstance(build_mask_source("stored", folder=tmp_path), MaskFolder)


def test_build_mask_source_takes_a_table():
    table = {**MASK_SOURCES, "whole": lambda: lambda image, file_name="": image[None, ..., 0] >= 0}
    assert build_mask_source("whole", table)(IMAGE).all()
    with pytest.raises(ValueError, match="'whole' has no option 'scale'; it has: none"):
        build_mask_source("whole", table, scale=1)
    with pytest.raises(ValueError, match="'whole' is unknown"):
        build_mask_source("whole")


def test_option_names():
    assert option_names("felzenszwalb") == ["scale", "sigma", "min_size"]
    assert "device" in option_names("dino") and "device" in option_names("sam")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nope", {}, "mask source 'nope' is unknown; choose one of felzenszwalb, dino, sam, sto"),
        ("felzenszwalb", {"size": 1}, "no option 'size'; it has: scale, sigma, min_size"),
        ("sam", {}, "mask source 'sam' needs the option 'checkpoint'; give it a value"),
        ("stored", {}, "mask source 'stored' needs the option 'folder'"),
        ("felzenszwalb", {"scale": "x"}, "does not take .*'x'.*; check the options' types"),
        ("felzenszwalb", {"scale": 0}, "give a scale above 0"),
    ],
)
def test_build_mask_source_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_mask_source(name, **options)


def test_build_mask_source_keeps_the_sources_error(tmp_path):
    with pytest.raises(MaskFileError, match="holds no masks"):
        build_mask_source("stored", folder=str(tmp_path))
