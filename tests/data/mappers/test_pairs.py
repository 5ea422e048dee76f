"""Crops of mask-category pairs: boxes by hand, augmentation, and bad pairs."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.data.mappers import TRAIN_MAPPERS, PairMapper
from ovseg_d2.data.sampler import Draw
from ovseg_d2.data.views import draw_part
from ovseg_d2.masks import MaskPair, encode_masks

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
WHOLE = {"part_area": (1, 1)}


def draw(position: int = 0) -> Draw:
    return Draw(index=0, seed=0, position=position)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((30, 40), dtype=bool)
    mask[10:20, 12:30] = True
    mask[10:15, 12:20] = False
    return mask


@pytest.fixture
def entry(tmp_path, mask) -> dict:
    path = str(tmp_path / "image.png")
    Image.fromarray(PIXELS).save(path)
    return {"file_name": path, "pair": MaskPair(path, encode_masks(mask[None])[0], "red star")}


def test_pair_mapper_tight_box(entry, mask):
    sample = PairMapper(**WHOLE)(entry, draw())
    assert sample["noun"] == "red star" and sample["file_name"] == entry["file_name"]
    assert sample["image"].dtype == torch.uint8 and sample["mask"].dtype == torch.bool
    np.testing.assert_array_equal(
        sample["image"].permute(1, 2, 0).numpy(), PIXELS[10:20, 12:30], "all of it, unfilled"
    )
    np.testing.assert_array_equal(sample["mask"].numpy(), mask[10:20, 12:30])


def test_pair_mapper_expands_boxes(entry, mask):
    sample = PairMapper(expand_ratio=2.0, **WHOLE)(entry, draw())
    # 10..20 becomes 5..25, and 12..30 becomes 3..39.
    np.testing.assert_array_equal(sample["mask"].numpy(), mask[5:25, 3:39])
    everything = PairMapper(expand_ratio=10.0, **WHOLE)(entry, draw())
    np.testing.assert_array_equal(everything["mask"].numpy(), mask)


def test_pair_mapper_bgr(entry):
    bgr = PairMapper(image_format="BGR", **WHOLE)(entry, draw())["image"]
    assert torch.equal(bgr.flip(0), PairMapper(**WHOLE)(entry, draw())["image"])


def test_pair_mapper_depends_on_the_draw_alone(entry):
    mapper = PairMapper(part_area=(0.3, 0.9), flip="horizontal")
    shapes = set()
    for position in range(12):
        np.random.seed(position)
        first, again = (mapper(entry, draw(position)._replace(index=i)) for i in (0, 7))
        assert torch.equal(first["image"], again["image"])
        assert torch.equal(first["mask"], again["mask"])
        shapes.add(tuple(first["image"].shape))
    assert len(shapes) > 3


def test_pair_mapper_flips_image_and_mask(entry):
    plain = PairMapper(**WHOLE)(entry, draw())
    for flip, axis in (("horizontal", 2), ("vertical", 1)):
        mapper = PairMapper(flip=flip, **WHOLE)
        samples = [mapper(entry, draw(position)) for position in range(40)]
        flipped = [torch.equal(sample["image"], plain["image"].flip(axis)) for sample in samples]
        assert 8 < sum(flipped) < 32
        for sample, is_flipped in zip(samples, flipped, strict=True):
            expected = plain["mask"].flip(axis - 1) if is_flipped else plain["mask"]
            assert torch.equal(sample["mask"], expected)


def test_draw_part_areas_and_aspects():
    rng = np.random.default_rng(0)
    parts = np.array([draw_part((60, 60), (0.25, 0.5), rng) for _ in range(400)])
    widths, heights = parts[:, 2] - parts[:, 0], parts[:, 3] - parts[:, 1]
    assert parts.min() >= 0 and parts.max() <= 60
    shares, aspects = widths * heights / 3600, widths / heights
    assert 0.23 < shares.min() < 0.27 and 0.48 < shares.max() < 0.52
    assert 0.7 < aspects.min() < 0.8 and 1.25 < aspects.max() < 1.4
    # No part of this aspect and area fits, so the whole crop is taken.
    assert draw_part((10, 100), (0.9, 1.0), rng) == (0, 0, 100, 10)
    assert draw_part((60, 60), (1, 1), rng) == (0, 0, 60, 60)


def test_pair_mapper_masks_are_never_empty(entry, tmp_path):
    corners = np.zeros((30, 40), dtype=bool)
    corners[0, 0] = corners[29, 39] = True
    pair = MaskPair(entry["file_name"], encode_masks(corners[None])[0], "dust")
    mapper = PairMapper(part_area=(0.1, 0.3))
    samples = [mapper({"file_name": "x", "pair": pair}, draw(position)) for position in range(30)]
    assert all(sample["mask"].any() for sample in samples)


def test_pair_mapper_shapes_names():
    mask = np.zeros((96, 96), dtype=bool)
    mask[3:50, 4:60] = True
    name = "shapes://train/0/2"
    pair = MaskPair(name, encode_masks(mask[None])[0], "sand")
    sample = PairMapper(**WHOLE)({"file_name": name, "pair": pair}, draw())
    assert sample["image"].shape == (3, 47, 56)


def test_pair_mapper_leaves_out_bad_pairs(entry, mask, caplog):
    pair, mapper = entry["pair"], PairMapper()
    larger, empty = np.pad(mask, 5), np.zeros_like(mask)
    messages = {
        "has the size [40, 50] instead of [30, 40]": (pair.image, larger),
        "is empty": (pair.image, empty),
        "there is no such file": ("gone.png", mask),
    }
    for message, (image, broken) in messages.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            bad = MaskPair(image, encode_masks(broken[None])[0], "dog")
            assert mapper({"file_name": image, "pair": bad}, draw()) is None
        assert message in caplog.text and "left out of training" in caplog.text


def test_pair_mapper_refuses_entries_without_pairs():
    with pytest.raises(
        ValueError, match="shapes://train/0/2: its entry has no mask and noun under"
    ):
        PairMapper()({"file_name": "shapes://train/0/2"}, draw())


@pytest.mark.parametrize("area", [(0, 1), (0.5,), (0.9, 0.5), (0.5, 1.1), ()])
def test_pair_mapper_wrong_part_area(area):
    with pytest.raises(ValueError, match="set INPUT.PAIRS.PART_AREA to two shares above 0 and up"):
        PairMapper(part_area=area)


def test_pair_mapper_from_config(entry):
    keys = ["INPUT.PAIRS.PART_AREA", "[1.0, 1.0]", "INPUT.PAIRS.EXPAND_RATIO", "2.0"]
    cfg = load_config(None, [*keys, "INPUT.RANDOM_FLIP", "none"])
    mapper = TRAIN_MAPPERS["pairs"].from_config(cfg)
    assert isinstance(mapper, PairMapper)
    assert mapper(entry, draw())["mask"].shape == (20, 36)
    with pytest.raises(ValueError, match="set INPUT.RANDOM_FLIP to one of none, horizontal"):
        PairMapper(flip="up")
    with pytest.raises(ValueError, match="expand_ratio=0.5"):
        PairMapper(expand_ratio=0.5)


# --- a labelled dataset without pairs


@pytest.fixture
def labelled(tmp_path, mask):
    name = "ovseg_test_label_pairs"
    MetadataCatalog.get(name).set(stuff_classes=["sky", "tree, bush", "car"], ignore_label=255)
    paths = [str(tmp_path / f"{stem}.png") for stem in ("image", "labels")]
    Image.fromarray(PIXELS).save(paths[0])
    Image.fromarray(np.where(mask, 1, 255).astype(np.uint8)).save(paths[1])
    yield {"file_name": paths[0], "sem_seg_file_name": paths[1], "dataset_name": name}
    MetadataCatalog.remove(name)


def test_label_pairs_are_masks_and_class_names(labelled, mask, tmp_path):
    mapper = PairMapper(**WHOLE)
    sample = mapper(labelled, draw())
    assert sample["noun"] == "tree" and sample["file_name"] == labelled["file_name"]
    np.testing.assert_array_equal(sample["mask"].numpy(), mask[10:20, 12:30])
    labels = np.repeat(np.arange(30, dtype=np.uint8)[:, None] // 10, 40, axis=1)
    Image.fromarray(labels).save(labelled["sem_seg_file_name"])
    nouns = [mapper(labelled, draw(position))["noun"] for position in range(20)]
    assert set(nouns) == {"sky", "tree", "car"}
    assert nouns == [mapper(labelled, draw(position))["noun"] for position in range(20)]


def test_label_pairs_leave_out_bad_labels(labelled, caplog):
    ignored, small = (np.full(size, 255, np.uint8) for size in ((30, 40), (30, 20)))
    small[:] = 1
    messages = {"holds no class": ignored, "has the size [30, 20] instead of [30, 40]": small}
    for message, labels in messages.items():
        Image.fromarray(labels).save(labelled["sem_seg_file_name"])
        with caplog.at_level(logging.WARNING):
            assert PairMapper()(labelled, draw()) is None
        assert message in caplog.text
    with caplog.at_level(logging.WARNING):
        assert PairMapper()({**labelled, "sem_seg_file_name": "gone.png"}, draw()) is None
    assert "'gone.png' does not exist" in caplog.text
