"""Loaders: training batches are functions of the position; test batches hold an image once."""

import itertools
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.d2.utils import comm
from ovseg_d2.data.datasets.shapes import shapes_dicts
from ovseg_d2.data.loaders import (
    TrainLoader,
    build_test_loader,
    build_train_loader,
    load_dataset_dicts,
)
from ovseg_d2.data.sampler import SampleStream


@pytest.fixture
def shapes(register) -> str:
    """Name of a dataset with the first five images of a split."""
    return register(shapes_dicts("train", size=5), stuff_classes=["thing"], ignore_label=255)


def cfg_of(name: str, *opts: str) -> CfgNode:
    batch = ["SOLVER.IMS_PER_BATCH", "4", "INPUT.CAPTIONS_PER_IMAGE", "2"]
    return load_config(None, ["DATASETS.TRAIN", f"('{name}',)", *batch, *opts])


def take(loader, count: int) -> list[list[dict]]:
    return list(itertools.islice(loader, count))


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert len(batch) == len(other)
        for a, b in zip(batch, other, strict=True):
            assert a.keys() == b.keys()
            assert torch.equal(a["image"], b["image"])
            assert a["drawn_captions"] == b["drawn_captions"]
            assert a["file_name"] == b["file_name"]


def test_train_loader_batches(shapes):
    (batch,) = take(build_train_loader(cfg_of(shapes)), 1)
    assert len(batch) == 4
    for sample in batch:
        assert sample["image"].shape == (3, 96, 96)
        assert len(sample["drawn_captions"]) == 2
        assert sample["dataset_name"] == shapes


def test_train_loader_pass_shows_an_image_once(shapes):
    batches = take(build_train_loader(cfg_of(shapes)), 5)
    names = [sample["file_name"] for batch in batches for sample in batch]
    for start in range(0, 20, 5):
        assert len(set(names[start : start + 5])) == 5


def test_train_loader_workers_give_the_same_batches(shapes):
    loaders = [
        build_train_loader(cfg_of(shapes, "DATALOADER.NUM_WORKERS", str(n)), start_iteration=1)
        for n in (0, 2)
    ]
    assert_same(take(loaders[0], 5), take(loaders[1], 5))


def test_train_loader_resumes(shapes):
    whole = take(build_train_loader(cfg_of(shapes)), 5)
    loader = build_train_loader(cfg_of(shapes))
    loader.start_at(2)
    assert_same(take(loader, 3), whole[2:])
    assert_same(take(build_train_loader(cfg_of(shapes), start_iteration=2), 3), whole[2:])


def test_train_loader_seed_changes_the_order(shapes):
    runs = [take(build_train_loader(cfg_of(shapes, "SEED", seed)), 5) for seed in "01"]
    names = [[sample["file_name"] for batch in run for sample in batch] for run in runs]
    assert names[0] != names[1]


def test_train_loader_ranks_share_a_batch(shapes, monkeypatch):
    whole = take(build_train_loader(cfg_of(shapes)), 3)
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        parts.append(take(build_train_loader(cfg_of(shapes)), 3))
    assert_same([a + b for a, b in zip(*parts, strict=True)], whole)


def test_train_loader_refuses_indivisible_batch(shapes, monkeypatch):
    monkeypatch.setattr(comm, "get_world_size", lambda: 3)
    with pytest.raises(ValueError, match="cannot be shared out to 3 processes"):
        build_train_loader(cfg_of(shapes))


def test_train_loader_unknown_mapper(shapes):
    with pytest.raises(ValueError, match="INPUT.TRAIN_MAPPER 'nope' is unknown; .* captions"):
        build_train_loader(cfg_of(shapes, "INPUT.TRAIN_MAPPER", "nope"))


def test_train_loader_replaces_unusable_sample():
    def mapper(dataset_dict, draw):
        return None if dataset_dict["n"] in (1, 2) else {**dataset_dict, "position": draw.position}

    dicts = [{"n": n} for n in range(4)]
    loader = TrainLoader(dicts, mapper, SampleStream(4, 4, shuffle=False), num_workers=0)
    (batch,) = take(loader, 1)
    assert [sample["n"] for sample in batch] == [0, 3, 3, 3]
    assert [sample["position"] for sample in batch] == [0, 1, 2, 3]


def test_train_loader_without_usable_sample():
    loader = TrainLoader([{}] * 3, lambda *_: None, SampleStream(3, 1), num_workers=0)
    with pytest.raises(ValueError, match="20 samples in a row, from number .*the log names"):
        take(loader, 1)


def test_train_loader_copies_dicts():
    def mapper(dataset_dict, draw):
        dataset_dict["touched"] = True
        return dataset_dict

    dicts = [{"n": 0}]
    take(TrainLoader(dicts, mapper, SampleStream(1, 1), num_workers=0), 2)
    assert dicts == [{"n": 0}]


def test_train_loader_leaves_out_corrupt_image(register, tmp_path, caplog):
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for n, path in enumerate(paths):
        Image.fromarray(np.full((4, 4, 3), n, dtype=np.uint8)).save(path)
    paths[1].write_bytes(b"no image")
    name = register([{"file_name": str(path), "captions": [path.name]} for path in paths])
    loader = build_train_loader(cfg_of(name, "SOLVER.IMS_PER_BATCH", "3"))
    with caplog.at_level(logging.WARNING):
        (batch,) = take(loader, 1)
    assert sorted(int(sample["image"].max()) for sample in batch) == [0, 2, 2]
    assert any("1.png" in text and "left out of training" in text for text in caplog.messages)


def test_load_dataset_dicts_adds_dataset_names(register):
    names = [register([{"file_name": "a"}, {"file_name": "b"}]), register([{"file_name": "c"}])]
    assert load_dataset_dicts(names) == [
        {"file_name": "a", "dataset_name": names[0]},
        {"file_name": "b", "dataset_name": names[0]},
        {"file_name": "c", "dataset_name": names[1]},
    ]


def test_load_dataset_dicts_unknown_name():
    with pytest.raises(ValueError, match="dataset 'ade' is not registered; .*ovseg_shapes_val"):
        load_dataset_dicts(["ade"])


@pytest.mark.parametrize("names", [[], (), "ovseg_shapes_val"])
def test_load_dataset_dicts_needs_a_list(names):
    with pytest.raises(ValueError, match="must be a list of at least one dataset name"):
        load_dataset_dicts(names)


def test_load_dataset_dicts_empty_dataset(register):
    name = register([])
    with pytest.raises(ValueError, match=f"dataset '{name}' is empty"):
        load_dataset_dicts([name])
    with pytest.raises(ValueError, match=f"dataset '{name}' is empty"):
        build_test_loader(cfg_of(name), name)


@pytest.mark.parametrize(("opts", "count"), [([], 5), (["TEST.MAX_IMAGES", "3"], 3)])
@pytest.mark.parametrize("num_workers", ["0", "2"])
def test_test_loader_holds_every_image_once(shapes, opts, count, num_workers):
    cfg = cfg_of(shapes, "DATALOADER.NUM_WORKERS", num_workers, *opts)
    loader = build_test_loader(cfg, shapes)
    batches = list(loader)
    assert len(loader) == count
    assert [len(batch) for batch in batches] == [1] * count
    names = [f"shapes://train/0/{index}" for index in range(count)]
    assert [batch[0]["file_name"] for batch in batches] == names
    for (sample,) in batches:
        assert sample["dataset_name"] == shapes
        assert sample["image"].shape == (3, 96, 96)
        assert (sample["height"], sample["width"]) == (96, 96)
