"""Crops with labels, of which unseen classes are hidden, and crops without labels."""

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.d2.data.transforms import RandomCrop_CategoryAreaConstraint
from ovseg_d2.data import labels as labels_module
from ovseg_d2.data import readers, shapes
from ovseg_d2.data.datasets import shapes_dataset_name
from ovseg_d2.data.loaders import build_train_loader
from ovseg_d2.data.mappers import ImageMapper, SemanticMapper
from ovseg_d2.data.sampler import Draw
from ovseg_d2.ops import UNLABELLED
from ovseg_d2.plugin.inputs import dataset_vocabulary
from ovseg_d2.vocab import Vocabulary, find_classes

SHAPES = {
    "file_name": "shapes://train/0/2",
    "sem_seg_file_name": "shapes://train/0/2",
    "dataset_name": shapes_dataset_name("train"),
}
CROPS = ("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", "[16, 24]")


def draw(position: int = 0) -> Draw:
    return Draw(index=0, seed=0, position=position)


def cfg_of(*opts):
    return load_config(
        None, ["MODEL.DEVICE", "cpu", "DATASETS.TRAIN", "('ovseg_shapes_dev',)", *opts]
    )


@pytest.fixture
def toy(toy_dataset):
    """A function that makes an entry whose labels equal its red channel, from metadata."""

    def make(**metadata):
        labels = np.indices((20, 30))[0] // 5  # 0 to 3 in stripes
        labels[0, 0] = 255
        name = toy_dataset("toy_semantic", ["a", "b", "c", "d"], labels=[labels], **metadata)
        (entry,) = DatasetCatalog.get(name)
        pixels = np.stack([labels, 0 * labels, 0 * labels], axis=2).astype(np.uint8)
        Image.fromarray(pixels).save(entry["file_name"])
        return {**entry, "dataset_name": name}

    return make


# --- labels


def test_semantic_mapper_labels_follow_the_image(toy):
    entry = toy()
    geometry = ["INPUT.MIN_SIZE_TRAIN", "(20,)", *CROPS]
    mapper = SemanticMapper.from_config(cfg_of(*geometry, "INPUT.SEMANTIC.DISTORT", "False"))
    seen = set()
    for position in range(12):
        sample = mapper(entry, draw(position))
        assert sample["image"].shape == (3, 16, 24) and sample["sem_seg"].shape == (16, 24)
        assert sample["sem_seg"].dtype == torch.int64
        assert torch.equal(sample["image"][0].long(), sample["sem_seg"])
        seen.add(sample["image"].numpy().tobytes())
    assert len(seen) > 4
    again = mapper(entry, draw(3))
    assert torch.equal(again["image"], mapper(entry, draw(3))["image"])


def test_semantic_mapper_scale_train(toy):
    cfg = cfg_of("INPUT.SCALE_TRAIN.SIZE", "[30, 30]", "INPUT.SCALE_TRAIN.RANGE", "[0.5, 2.0]")
    mapper = SemanticMapper.from_config(cfg)
    entry = toy()
    sizes = [tuple(mapper(entry, draw(n))["sem_seg"].shape) for n in range(40)]
    assert min(width for _, width in sizes) < 20 and 50 < max(width for _, width in sizes) <= 60
    assert all(abs(height - width * 2 / 3) <= 1 for height, width in sizes)
    for keys in (
        ("SIZE", "[30]"),
        ("SIZE", "[0, 30]"),
        ("RANGE", "[2.0, 0.5]"),
        ("RANGE", "[0, 1]"),
    ):
        opts = ("INPUT.SCALE_TRAIN.SIZE", "[30, 30]", f"INPUT.SCALE_TRAIN.{keys[0]}", keys[1])
        with pytest.raises(ValueError, match=f"INPUT.SCALE_TRAIN.{keys[0]} is"):
            ImageMapper.from_config(cfg_of(*opts))


def test_unseen_class_names_are_those_of_models(toy_dataset):
    """Two classes of one name, and a vocabulary in the metadata."""
    labels = np.indices((20, 30))[0] // 5  # 0 to 3 in stripes
    twice = toy_dataset("toy_twice", ["bow", "cat", "bow", "dog"], labels=[labels])
    vocabulary = Vocabulary.from_names(["w", "x", "y", "z"], class_sets={"new": [3]})
    named = toy_dataset("toy_named", ["a", "b", "c", "d"], labels=[labels], vocabulary=vocabulary)
    for name, unseen, hidden in ((twice, "bow", 0), (twice, "bow (2)", 2), (named, "new", 3)):
        entry = {**DatasetCatalog.get(name)[0], "dataset_name": name}
        labels_seen = SemanticMapper(unseen=[unseen], distort=False)(entry, draw())["sem_seg"]
        assert set(labels_seen.unique().tolist()) == {0, 1, 2, 3, UNLABELLED} - {hidden}
        assert find_classes([unseen], *names_and_sets(name)) == (hidden,)


def names_and_sets(name):
    vocabulary = dataset_vocabulary(name)
    return vocabulary.names, vocabulary.class_sets


@pytest.mark.parametrize("unseen", [["new"], ["b", "D"]])
def test_semantic_mapper_hides_unseen_classes(toy, unseen):
    entry = toy(class_sets={"new": [1, 3], "old": [0, 2]})
    plain = SemanticMapper(distort=False)(entry, draw())["sem_seg"]
    labels = SemanticMapper(unseen=unseen, distort=False)(entry, draw())["sem_seg"]
    expected = torch.where((plain == 1) | (plain == 3), UNLABELLED, plain)
    assert torch.equal(labels, expected) and labels[0, 0] == 255
    assert {0, 2, UNLABELLED, 255} == set(labels.unique().tolist())


def test_semantic_mapper_only_ignored(toy):
    labels = SemanticMapper(only_ignored=True)(toy(), draw())["sem_seg"]
    assert labels[0, 0] == 255 and (labels.flatten()[1:] == UNLABELLED).all()


def test_semantic_mapper_maps_ignore_labels(toy):
    entry = toy(ignore_label=[3, 255])
    labels = SemanticMapper(ignore=99)(entry, draw())["sem_seg"]
    assert 3 not in labels and (labels[15:] == 99).all() and 255 not in labels


def test_semantic_mapper_hides_novel_shapes():
    mapper = SemanticMapper(unseen=["novel"], distort=False)
    hidden = 0
    for index in range(12):
        name = f"shapes://train/0/{index}"
        sample = mapper({**SHAPES, "file_name": name, "sem_seg_file_name": name}, draw())
        expected = shapes.read_labels(name, hide_novel=True).astype(np.int64)
        expected = np.where(expected == shapes.IGNORE_LABEL, UNLABELLED, expected)
        assert np.array_equal(sample["sem_seg"].numpy(), expected)
        hidden += int((sample["sem_seg"] == UNLABELLED).sum())
    assert hidden > 0


def test_balanced_crops_use_remaining_labels(toy, monkeypatch):
    given = []
    monkeypatch.setattr(
        RandomCrop_CategoryAreaConstraint,
        "get_transform",
        lambda self, image, sem_seg: given.append(sem_seg) or self.crop_aug.get_transform(image),
    )
    share = ("INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", "0.75")
    unseen = ("INPUT.SEMANTIC.UNSEEN", "['a']", "INPUT.MIN_SIZE_TRAIN", "(20,)")
    SemanticMapper.from_config(cfg_of(*CROPS, *share, *unseen))(toy(), draw())
    assert set(np.unique(given[0])) == {UNLABELLED, 1, 2, 3, 255}


def test_balanced_crops_avoid_a_dominant_class(tmp_path, toy_dataset):
    labels = np.zeros((16, 160), dtype=np.int64)
    labels[:, 140:] = 1
    name = toy_dataset("toy_balance", ["a", "b"], labels=[labels])
    entry = {**DatasetCatalog.get(name)[0], "dataset_name": name}
    crop = ("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute")
    opts = (*crop, "INPUT.CROP.SIZE", "[16, 24]", "INPUT.MIN_SIZE_TRAIN", "(16,)")
    shares = {}
    for most in ("1.0", "0.9"):
        cfg = cfg_of(*opts, "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", most)
        mapper = SemanticMapper.from_config(cfg)
        crops = [mapper(entry, draw(position))["sem_seg"] for position in range(30)]
        shares[most] = np.mean([len(crop.unique()) > 1 for crop in crops])
    assert shares["0.9"] > shares["1.0"] + 0.2


# --- without labels


def test_image_mapper_padding_and_labels(toy):
    mapper = ImageMapper.from_config(cfg_of(*CROPS, "INPUT.MIN_SIZE_TRAIN", "(10,)"))
    sample = mapper(toy(), draw())
    assert sample["image"].shape == (3, 16, 24) and "sem_seg_file_name" not in sample
    assert (sample["sem_seg"][:10, :15] == UNLABELLED).all()
    assert (sample["sem_seg"][10:] == 255).all() and (sample["sem_seg"][:, 15:] == 255).all()
    assert (sample["image"][:, 10:] == 128).all()


def test_image_mapper_reads_no_labels(toy, monkeypatch):
    """All readers of labels raise, and the label file does not exist."""

    def barred(*_, **__):
        raise AssertionError("a label was read")

    entry = toy()
    for module in (readers, labels_module):
        monkeypatch.setattr(module, "read_labels", barred)
    monkeypatch.setattr(shapes, "read_labels", barred)
    mapper = ImageMapper.from_config(cfg_of(*CROPS, "INPUT.MIN_SIZE_TRAIN", "(20,)"))
    without = {**entry, "sem_seg_file_name": "/nowhere/labels.png"}
    assert torch.equal(mapper(entry, draw())["image"], mapper(without, draw())["image"])
    assert mapper(SHAPES, draw()) is not None
    batches = iter(build_train_loader(cfg_of("INPUT.TRAIN_MAPPER", "pictures")))
    for sample in next(batches):
        assert (sample["sem_seg"] == UNLABELLED).all()
    with pytest.raises(AssertionError, match="a label was read"):
        SemanticMapper()(SHAPES, draw())


def test_image_and_semantic_mapper_draw_the_same_crop(toy):
    cfg = cfg_of(*CROPS, "INPUT.MIN_SIZE_TRAIN", "(20, 40)", "INPUT.FORMAT", "BGR")
    entry = toy()
    for position in range(5):
        with_labels = SemanticMapper.from_config(cfg)(entry, draw(position))["image"]
        assert torch.equal(
            with_labels, ImageMapper.from_config(cfg)(entry, draw(position))["image"]
        )


# --- bad input


def test_semantic_mapper_leaves_out_broken_files(toy, tmp_path, caplog):
    entry = toy()
    small = tmp_path / "small.png"
    Image.new("L", (3, 2)).save(small)
    mapper = SemanticMapper()
    assert mapper({**entry, "sem_seg_file_name": str(small)}, draw()) is None
    assert "has 2 x 3 pixels, and its image 20 x 30" in caplog.text
    assert mapper({**entry, "sem_seg_file_name": str(tmp_path / "no.png")}, draw()) is None
    assert mapper({**entry, "file_name": str(tmp_path / "no.png")}, draw()) is None
    assert caplog.text.count("left out of training") == 3


def test_semantic_mapper_errors(toy):
    entry = toy()
    with pytest.raises(ValueError, match="UNSEEN, dataset 'toy_semantic': 'cat' is neither"):
        SemanticMapper(unseen=["cat"])(entry, draw())
    del entry["sem_seg_file_name"]
    with pytest.raises(ValueError, match="no 'sem_seg_file_name'; .*TRAIN_MAPPER to pictures"):
        SemanticMapper()(entry, draw())
    share = ("INPUT.CROP.SINGLE_CATEGORY_MAX_AREA", "0.75")
    with pytest.raises(ValueError, match="TRAIN_MAPPER pictures reads no labels to balance"):
        ImageMapper.from_config(cfg_of(*share))
    with pytest.raises(ValueError, match="ONLY_IGNORED leaves no labels to balance"):
        SemanticMapper.from_config(cfg_of(*share, "INPUT.SEMANTIC.ONLY_IGNORED", "True"))
