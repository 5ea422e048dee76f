"""Samples of contrastive training, as functions of the position."""

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.data import shapes
from ovseg_d2.data.mappers import CaptionMapper
from ovseg_d2.data.sampler import Draw

SHAPES = {"file_name": "shapes://train/0/2", "image_id": 2}
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)


@pytest.fixture
def entry(tmp_path) -> dict:
    """The dict of an image file with three captions."""
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    return {"file_name": str(tmp_path / "image.png"), "captions": ["one", "two", "three"]}


def draws(count: int) -> list[Draw]:
    return [Draw(index=0, seed=0, position=position) for position in range(count)]


def test_caption_mapper_sample_of_a_file(entry):
    sample = CaptionMapper()(entry, draws(1)[0])
    assert sample["image"].dtype == torch.uint8
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0).numpy(), PIXELS)
    assert len(sample["drawn_captions"]) == 1
    assert sample["captions"] == entry["captions"]
    assert set(entry) == {"file_name", "captions"}


def test_caption_mapper_captions_of_shapes_names():
    known = shapes.read_captions(SHAPES["file_name"])
    drawn = {c for draw in draws(40) for c in CaptionMapper()(SHAPES, draw)["drawn_captions"]}
    assert drawn == set(known)
    assert CaptionMapper()(SHAPES, draws(1)[0])["image"].shape == (3, 96, 96)
    sample = CaptionMapper()({**SHAPES, "captions": ["mine"]}, draws(1)[0])
    assert sample["drawn_captions"] == ("mine",)


def test_caption_mapper_depends_on_the_draw_alone(entry):
    mapper = CaptionMapper(num_captions=2, flip="horizontal")
    for draw in draws(10):
        np.random.seed(draw.position)
        first, again = mapper(entry, draw), mapper(entry, draw._replace(index=7))
        assert first["drawn_captions"] == again["drawn_captions"]
        assert torch.equal(first["image"], again["image"])


def test_caption_mapper_draws_captions_evenly(entry):
    drawn = [CaptionMapper()(entry, draw)["drawn_captions"][0] for draw in draws(600)]
    counts = [drawn.count(caption) for caption in entry["captions"]]
    # Of 600 draws 200 each; the standard deviation is 11.5.
    assert all(abs(count - 200) < 60 for count in counts)


@pytest.mark.parametrize("num_captions", [1, 2, 3, 5, 7])
def test_caption_mapper_repeats_after_all_captions(entry, num_captions):
    for draw in draws(20):
        drawn = CaptionMapper(num_captions=num_captions)(entry, draw)["drawn_captions"]
        assert len(drawn) == num_captions
        for start in range(0, num_captions, 3):
            part = drawn[start : start + 3]
            assert len(set(part)) == len(part)


@pytest.mark.parametrize(("flip", "axis"), [("horizontal", 1), ("vertical", 0)])
def test_caption_mapper_flips_half_of_the_images(entry, flip, axis):
    images = [CaptionMapper(flip=flip)(entry, draw)["image"] for draw in draws(200)]
    images = [image.permute(1, 2, 0).numpy() for image in images]
    mirrored = np.flip(PIXELS, axis)
    counts = [sum(np.array_equal(i, known) for i in images) for known in (PIXELS, mirrored)]
    assert sum(counts) == 200
    assert abs(counts[0] - 100) < 40  # the standard deviation is 7


def test_caption_mapper_does_not_flip_by_default(entry):
    for draw in draws(20):
        image = CaptionMapper()(entry, draw)["image"]
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), PIXELS)


def test_caption_mapper_bgr(entry):
    image = CaptionMapper(image_format="BGR")(entry, draws(1)[0])["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), PIXELS[..., ::-1])


def test_caption_mapper_leaves_out_unreadable_image(tmp_path, caplog):
    missing = {"file_name": str(tmp_path / "none.png"), "captions": ["one"]}
    assert CaptionMapper()(missing, draws(1)[0]) is None
    assert "none.png" in caplog.text
    assert "left out of training" in caplog.text


@pytest.mark.parametrize("captions", [None, [], "a red star"])
def test_caption_mapper_refuses_other_captions(entry, captions):
    with pytest.raises(ValueError, match="image.png: its captions are .*; add a list of texts"):
        CaptionMapper()({**entry, "captions": captions}, draws(1)[0])


def test_caption_mapper_refuses_wrong_shapes_name():
    with pytest.raises(ValueError, match="is not an image of the Shapes world"):
        CaptionMapper()({"file_name": "shapes://train/0"}, draws(1)[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_captions": 0}, "set INPUT.CAPTIONS_PER_IMAGE to at least 1"),
        ({"flip": "both"}, "flip='both'; set INPUT.RANDOM_FLIP to one of none, horizontal"),
        ({"image_format": "YUV"}, "INPUT.FORMAT 'YUV' is not one of RGB, BGR"),
        *(
            ({"crop_size": size}, "set INPUT.CAPTION_CROP.SIZE to height and width")
            for size in ((0, 10), (10,), (10, 10, 3))
        ),
        *(
            ({"crop_size": (8, 8), "crop_area": area}, "set INPUT.CAPTION_CROP.AREA to two shares")
            for area in ((0.0, 1.0), (0.9, 0.5), (0.5, 1.1), (0.5,))
        ),
    ],
)
def test_caption_mapper_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        CaptionMapper(**arguments)


def test_caption_mapper_from_config(entry):
    opts = ["INPUT.CAPTIONS_PER_IMAGE", "3", "INPUT.RANDOM_FLIP", "vertical", "INPUT.FORMAT", "BGR"]
    built = CaptionMapper.from_config(load_config(None, opts))
    by_hand = CaptionMapper(num_captions=3, flip="vertical", image_format="BGR")
    for draw in draws(8):
        a, b = built(entry, draw), by_hand(entry, draw)
        assert a["drawn_captions"] == b["drawn_captions"]
        assert torch.equal(a["image"], b["image"])


def test_caption_mapper_wrong_captions(entry):
    cfg = load_config(None, ["INPUT.NEGATIVES_PER_CAPTION", "2"])
    mapper = CaptionMapper.from_config(cfg)
    samples = [mapper(SHAPES, draw) for draw in draws(20)]
    assert all(1 <= len(sample["wrong_captions"]) <= 2 for sample in samples)
    known = set(shapes.read_captions(SHAPES["file_name"]))
    assert not known & {wrong for sample in samples for wrong in sample["wrong_captions"]}
    assert mapper(SHAPES, draws(1)[0])["wrong_captions"] == samples[0]["wrong_captions"]
    assert mapper(entry, draws(1)[0])["wrong_captions"] == ()
    with pytest.raises(ValueError, match=r"num_negatives=-1.*NEGATIVES_PER_CAPTION"):
        CaptionMapper(num_negatives=-1)


def test_caption_mapper_crops():
    mapper = CaptionMapper(crop_size=(20, 30), crop_area=(0.1, 0.3))
    whole = CaptionMapper()
    for number in range(6):
        entry, draw = {"file_name": f"shapes://dev/0/{number}"}, Draw(number, 0, number)
        cropped, plain = mapper(entry, draw), whole(entry, draw)
        assert cropped["image"].shape == (3, 20, 30) and plain["image"].shape == (3, 96, 96)
        assert cropped["drawn_captions"] == plain["drawn_captions"]
        assert torch.equal(mapper(entry, draw)["image"], cropped["image"])
    same_size = CaptionMapper(crop_size=(96, 96), crop_area=(1.0, 1.0))
    assert torch.equal(same_size(entry, draw)["image"], plain["image"])
    small = CaptionMapper(crop_size=(24, 24), crop_area=(1.0, 1.0))(entry, draw)["image"]
    means = plain["image"].float().unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4))
    assert (small.float() - means).abs().max() <= 1  # every pixel counts
