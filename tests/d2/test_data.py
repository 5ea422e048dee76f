"""The contract of mapper and loaders: holds on detectron2 and on the stand-in alike."""

import copy
import pickle
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.data import (
    DatasetCatalog,
    DatasetFromList,
    DatasetMapper,
    MapDataset,
    ToIterableDataset,
    build_batch_data_loader,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
    trivial_batch_collator,
)
from ovseg_d2.d2.data import transforms as T
from ovseg_d2.d2.data.datasets import load_sem_seg
from ovseg_d2.d2.data.detection_utils import SizeMismatchError
from ovseg_d2.d2.data.samplers import InferenceSampler, TrainingSampler

standin_only = pytest.mark.skipif(HAS_DETECTRON2, reason="goes beyond detectron2")


class Numbers(IterableDataset):
    """0, 1, 2, ... as an iterable dataset."""

    def __init__(self, size):
        self.size = size

    def __iter__(self):
        return iter(range(self.size))

    def __len__(self):
        return self.size


# Functions that a worker process can be given.
def _double(number):
    return 2 * number


def _double_even(number):
    return 2 * number if number % 2 == 0 else None


def _nothing(number):
    return None


def _id(sample):
    return sample["id"]


def _build_cfg(name, *opts):
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = (name,)
    cfg.DATASETS.TEST = (name,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.INPUT.MIN_SIZE_TRAIN = (16,)
    cfg.INPUT.MIN_SIZE_TEST = 12
    cfg.merge_from_list(list(opts))
    return cfg


# --- wrappers


@pytest.mark.parametrize("serialize", [True, False])
def test_list_as_dataset(serialize):
    samples = [{"id": 0}, {"id": 1, "points": np.arange(3)}, {"id": 2}]
    dataset = DatasetFromList(samples, serialize=serialize)
    assert isinstance(dataset, Dataset)
    assert len(dataset) == 3
    assert [dataset[i]["id"] for i in range(3)] == [0, 1, 2]
    assert dataset[1]["points"].tolist() == [0, 1, 2]
    dataset[0]["id"] = 9
    assert dataset[0] == samples[0] == {"id": 0}


def test_list_as_dataset_without_copies():
    samples = [{"id": 0}]
    assert DatasetFromList(samples, copy=False, serialize=False)[0] is samples[0]
    assert DatasetFromList(samples, copy=False)[0] is not samples[0]


def test_list_as_dataset_can_be_pickled():
    dataset = pickle.loads(pickle.dumps(DatasetFromList([{"id": 0}, {"id": 1}])))
    assert dataset[1] == {"id": 1}


def test_mapped_dataset():
    dataset = MapDataset([3, 4, 5], _double)
    assert len(dataset) == 3
    assert [dataset[i] for i in range(3)] == [6, 8, 10]
    assert not isinstance(dataset, IterableDataset)
    assert pickle.loads(pickle.dumps(dataset))[1] == 8


def test_mapped_to_none_is_replaced_by_another():
    dataset = MapDataset(list(range(20)), _double_even)
    assert dataset[4] == 8
    for index in range(1, 20, 2):
        assert dataset[index] in range(0, 40, 4)


@standin_only
def test_replacement_depends_on_the_index_alone():
    dataset = MapDataset(list(range(20)), _double_even)
    replacements = [dataset[i] for i in range(1, 20, 2)]
    assert len(set(replacements)) > 1
    again = MapDataset(list(range(20)), _double_even)
    assert [again[i] for i in reversed(range(1, 20, 2))] == replacements[::-1]


def test_all_mapped_to_none(d2_log):
    with pytest.raises(ValueError, match=".+"):
        MapDataset([1, 2, 3, 4], _nothing)[0]
    assert d2_log


def test_mapped_iterable_dataset_leaves_none_out():
    dataset = MapDataset(Numbers(5), _double_even)
    assert isinstance(dataset, IterableDataset)
    assert list(dataset) == [0, 4, 8]
    assert len(dataset) == 5


def test_dataset_in_the_order_of_a_sampler():
    dataset = ToIterableDataset(DatasetFromList([7, 8, 9]), SequentialSampler(range(3)))
    assert list(dataset) == [7, 8, 9]
    assert len(dataset) == 3
    with pytest.raises(AssertionError):
        ToIterableDataset(Numbers(3), SequentialSampler(range(3)))
    with pytest.raises(AssertionError):
        ToIterableDataset(DatasetFromList([7, 8, 9]), [0, 1, 2])


@pytest.mark.parametrize(
    ("chunk", "expected"), [(1, [[0, 2, 4], [1, 3, 5], [6]]), (2, [[0, 1, 4], [2, 3, 6], [5]])]
)
def test_workers_share_the_indices(chunk, expected):
    dataset = ToIterableDataset(
        DatasetFromList(list(range(7))), SequentialSampler(range(7)), shard_chunk_size=chunk
    )
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=trivial_batch_collator)
    assert list(loader) == expected


def test_workers_of_a_sampler_that_heeds_them():
    dataset = ToIterableDataset(
        DatasetFromList([7, 8]), SequentialSampler(range(2)), shard_sampler=False
    )
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=trivial_batch_collator)
    assert list(loader) == [[7, 8], [7, 8]]


# --- listing


def _touch(root, names):
    root.mkdir()
    for name in names:
        (root / name).touch()
    return str(root)


def test_load_sem_seg(tmp_path):
    images = _touch(tmp_path / "images", ["b.jpg", "a.jpg", "notes.txt"])
    labels = _touch(tmp_path / "labels", ["a.png", "b.png"])
    assert load_sem_seg(labels, images) == [
        {"file_name": f"{images}/{stem}.jpg", "sem_seg_file_name": f"{labels}/{stem}.png"}
        for stem in ("a", "b")
    ]


def test_load_sem_seg_by_its_endings(tmp_path):
    images = _touch(tmp_path / "images", ["a_photo.png"])
    labels = _touch(tmp_path / "labels", ["a_ids.tif", "a_colour.tif"])
    assert load_sem_seg(labels, images, gt_ext="_ids.tif", image_ext="_photo.png") == [
        {"file_name": f"{images}/a_photo.png", "sem_seg_file_name": f"{labels}/a_ids.tif"}
    ]


def test_load_sem_seg_takes_what_both_have(tmp_path, d2_log):
    images = _touch(tmp_path / "images", ["a.jpg", "b.jpg", "c.jpg"])
    labels = _touch(tmp_path / "labels", ["c.png", "a.png"])
    names = [Path(sample["file_name"]).name for sample in load_sem_seg(labels, images)]
    assert names == ["a.jpg", "c.jpg"]
    assert any("intersection of 2 files" in line for line in d2_log)


@standin_only
def test_load_sem_seg_never_pairs_different_names(tmp_path):
    images = _touch(tmp_path / "images", ["a.jpg", "b.jpg"])
    labels = _touch(tmp_path / "labels", ["b.png", "c.png"])
    assert [Path(s["file_name"]).name for s in load_sem_seg(labels, images)] == ["b.jpg"]


def test_load_sem_seg_needs_labels(tmp_path):
    images = _touch(tmp_path / "images", ["a.jpg"])
    with pytest.raises(AssertionError, match="No annotations found"):
        load_sem_seg(_touch(tmp_path / "labels", []), images)


def test_dataset_dicts_of_several_datasets(dataset_name):
    DatasetCatalog.register(dataset_name, lambda: [{"id": 0}, {"id": 1}])
    assert get_detection_dataset_dicts(dataset_name) == [{"id": 0}, {"id": 1}]
    twice = get_detection_dataset_dicts([dataset_name, dataset_name])
    assert [sample["id"] for sample in twice] == [0, 1, 0, 1]


def test_dataset_dicts_without_annotations(dataset_name):
    crowd = {"annotations": [{"iscrowd": 1}]}
    object_ = {"annotations": [{"iscrowd": 1}, {"category_id": 0}]}
    DatasetCatalog.register(dataset_name, lambda: [crowd, object_, {"annotations": []}])
    assert get_detection_dataset_dicts(dataset_name) == [object_]
    assert len(get_detection_dataset_dicts(dataset_name, filter_empty=False)) == 3


def test_dataset_dicts_of_torch_datasets(dataset_name):
    DatasetCatalog.register(dataset_name, lambda: DatasetFromList([5, 6]))
    assert isinstance(get_detection_dataset_dicts(dataset_name), Dataset)
    twice = get_detection_dataset_dicts([dataset_name, dataset_name])
    assert [twice[i] for i in range(len(twice))] == [5, 6, 5, 6]


def test_dataset_dicts_of_nothing(dataset_name, d2_log):
    with pytest.raises(AssertionError):
        get_detection_dataset_dicts([])
    DatasetCatalog.register(dataset_name, list)
    with pytest.raises(AssertionError, match=f"'{dataset_name}' is empty"):
        get_detection_dataset_dicts(dataset_name)
    assert not d2_log
    with pytest.raises(KeyError, match="ovseg_nowhere"):
        get_detection_dataset_dicts("ovseg_nowhere")
    assert any("not registered" in line and "ovseg_nowhere" in line for line in d2_log)


# --- mapper


def test_mapper_for_testing(pictures):
    cfg = _build_cfg("unused")
    before = copy.deepcopy(pictures[0])
    sample = DatasetMapper(cfg, False)(pictures[0])
    assert pictures[0] == before
    assert sample["file_name"] == before["file_name"]
    assert "sem_seg_file_name" not in sample
    assert (sample["height"], sample["width"]) == (20, 30)
    assert sample["image"].shape == (3, 12, 18)
    assert sample["image"].dtype == torch.uint8
    assert sample["sem_seg"].shape == (12, 18)
    assert sample["sem_seg"].dtype == torch.int64
    # BGR: blue is the number of the picture, green always 100.
    assert sample["image"][0].unique().tolist() == [0]
    assert sample["image"][1].unique().tolist() == [100]


def test_mapper_turns_image_and_labels_alike(pictures):
    opts = ["INPUT.CROP.ENABLED", True, "INPUT.CROP.TYPE", "absolute", "INPUT.CROP.SIZE", [9, 11]]
    cfg = _build_cfg("unused", *opts, "INPUT.MIN_SIZE_TRAIN", (0,), "INPUT.FORMAT", "RGB")
    mapper = DatasetMapper(cfg, is_train=True)
    original = np.asarray(Image.open(pictures[0]["sem_seg_file_name"]))
    is_flipped = set()
    for _ in range(20):
        sample = mapper(pictures[0])
        labels = sample["sem_seg"]
        assert labels.shape == (9, 11)
        assert torch.equal(sample["image"][0].long(), labels * 40)
        windows = np.lib.stride_tricks.sliding_window_view(original, (9, 11)).reshape(-1, 9, 11)
        turns = labels.numpy(), labels.flip(1).numpy()
        found = [bool((windows == turned).all((1, 2)).any()) for turned in turns]
        assert any(found)
        is_flipped.add(found[1])
    assert is_flipped == {True, False}


def test_mapper_from_parts(pictures):
    mapper = DatasetMapper(
        False, augmentations=[T.CropTransform(2, 1, 5, 4), T.Resize((8, 10))], image_format="L"
    )
    sample = mapper({"file_name": pictures[0]["file_name"]})
    assert sample["image"].shape == (1, 8, 10)
    assert "sem_seg" not in sample


def test_mapper_takes_no_augmentations(pictures):
    mapper = DatasetMapper(True, augmentations=[], image_format="RGB")
    sample = mapper(pictures[1])
    expected = np.asarray(Image.open(pictures[1]["file_name"]))
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), expected)
    labels = np.asarray(Image.open(pictures[1]["sem_seg_file_name"]))
    assert np.array_equal(sample["sem_seg"].numpy(), labels)


def test_mapper_can_be_extended(pictures):
    class TaggingMapper(DatasetMapper):
        @classmethod
        def from_config(cls, cfg, is_train=True):
            arguments = super().from_config(cfg, is_train)
            return {**arguments, "augmentations": [], "image_format": "RGB"}

        def __call__(self, dataset_dict):
            return {**super().__call__(dataset_dict), "dataset_name": "tag"}

    sample = TaggingMapper(_build_cfg("unused"), False)(pictures[0])
    assert sample["dataset_name"] == "tag"
    assert sample["image"].shape == (3, 20, 30)
    assert sample["image"][1].unique().tolist() == [100]


def test_mapper_checks_the_size(pictures):
    with pytest.raises(SizeMismatchError):
        DatasetMapper(_build_cfg("unused"), False)({**pictures[0], "width": 31, "height": 20})


def test_mapper_for_testing_drops_annotations(pictures):
    sample = {**pictures[0], "annotations": [{"category_id": 0}]}
    assert "annotations" not in DatasetMapper(_build_cfg("unused"), False)(sample)


@standin_only
def test_mapper_says_that_it_cannot_do_instances(pictures):
    sample = {**pictures[0], "annotations": [{"category_id": 0}]}
    with pytest.raises(ValueError, match="instance annotations.*detectron2"):
        DatasetMapper(_build_cfg("unused"), True)(sample)


# --- batches


def test_batches_are_lists():
    loader = build_batch_data_loader(
        DatasetFromList(list(range(5))), TrainingSampler(5, shuffle=False, seed=0), 2
    )
    assert list(islice(loader, 4)) == [[0, 1], [2, 3], [4, 0], [1, 2]]


def test_batches_of_a_finite_stream():
    assert list(build_batch_data_loader(Numbers(5), None, 2)) == [[0, 1], [2, 3]]
    whole = build_batch_data_loader(Numbers(5), None, 2, drop_last=False, collate_fn=sum)
    assert list(whole) == [1, 5, 4]


def test_batches_of_all_processes(pretend_world):
    pretend_world(2, 0)
    assert list(build_batch_data_loader(Numbers(5), None, 4)) == [[0, 1], [2, 3]]
    with pytest.raises(AssertionError, match="divisible"):
        build_batch_data_loader(Numbers(5), None, 3)
    own = build_batch_data_loader(Numbers(6), None, None, single_gpu_batch_size=3)
    assert list(own) == [[0, 1, 2], [3, 4, 5]]


def test_batch_size_is_given_once():
    with pytest.raises(AssertionError, match="divisible"):
        build_batch_data_loader(Numbers(5), None, 0)
    with pytest.raises(ValueError, match="only one"):
        build_batch_data_loader(Numbers(5), None, 2, single_gpu_batch_size=2)


def test_batches_need_a_sampler_or_an_iterable_dataset():
    with pytest.raises(AssertionError):
        build_batch_data_loader(Numbers(5), SequentialSampler(range(5)), 2)
    with pytest.raises(AssertionError):
        build_batch_data_loader(DatasetFromList([1, 2]), None, 2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_by_aspect_ratio(num_workers):
    samples = [
        {"id": i, "width": width, "height": 10} for i, width in enumerate([20, 5, 10, 20, 5, 20])
    ]
    loader = build_detection_train_loader(
        samples,
        mapper=None,
        sampler=TrainingSampler(6, shuffle=False, seed=0),
        total_batch_size=2,
        num_workers=num_workers,
    )
    batches = list(islice(loader, 12))
    assert all(len(batch) == 2 for batch in batches)
    assert all(len({s["width"] > s["height"] for s in batch}) == 1 for batch in batches)
    if num_workers == 0:
        ids = [[s["id"] for s in batch] for batch in batches[:5]]
        assert ids == [[1, 2], [0, 3], [5, 0], [4, 1], [2, 4]]


def test_batches_by_aspect_ratio_are_collated_and_complete():
    samples = [{"id": i, "width": 2, "height": 1} for i in range(3)]
    build = {"sampler": TrainingSampler(3, shuffle=False, seed=0), "mapper": None}
    loader = build_detection_train_loader(samples, total_batch_size=2, collate_fn=len, **build)
    assert list(islice(loader, 3)) == [2, 2, 2]
    with pytest.raises(AssertionError):
        build_detection_train_loader(samples, total_batch_size=2, drop_last=False, **build)


def test_collator_does_nothing():
    batch = [{"id": 0}]
    assert trivial_batch_collator(batch) is batch


# --- training loader


def test_train_loader_of_a_config(dataset_name, pictures):
    DatasetCatalog.register(dataset_name, lambda: pictures)
    loader = build_detection_train_loader(_build_cfg(dataset_name))
    batches = list(islice(loader, 8))
    for batch in batches:
        assert isinstance(batch, list)
        assert len(batch) == 2
        wide, other = (s["width"] > s["height"] for s in batch)
        assert wide == other
        assert all(min(s["image"].shape[1:]) == 16 for s in batch)
        assert all(s["sem_seg"].shape == s["image"].shape[1:] for s in batch)
    seen = {s["file_name"] for batch in batches for s in batch}
    assert seen == {picture["file_name"] for picture in pictures}
    with pytest.raises(TypeError):
        len(loader)


def _train_ids(cfg, count=10, **kwargs):
    return list(islice(build_detection_train_loader(cfg, mapper=_id, **kwargs), count))


def test_train_loader_repeats_itself(dataset_name):
    DatasetCatalog.register(dataset_name, lambda: [{"id": i} for i in range(11)])
    opts = ["DATALOADER.ASPECT_RATIO_GROUPING", False]
    first = _train_ids(_build_cfg(dataset_name, *opts))
    # The default seed, -1, is a seed like any other.
    assert _train_ids(_build_cfg(dataset_name, *opts)) == first
    assert _train_ids(_build_cfg(dataset_name, *opts, "SEED", 5)) != first
    stream = [i for batch in first for i in batch]
    assert sorted(stream[:11]) == list(range(11))


def test_train_loader_does_not_depend_on_the_workers(dataset_name):
    DatasetCatalog.register(dataset_name, lambda: [{"id": i} for i in range(11)])
    opts = ["DATALOADER.ASPECT_RATIO_GROUPING", False, "SEED", 1]
    alone = _train_ids(_build_cfg(dataset_name, *opts))
    cfg = _build_cfg(dataset_name, *opts, "DATALOADER.NUM_WORKERS", 2)
    assert _train_ids(cfg, prefetch_factor=3) == alone


def test_train_loader_shares_batches_among_processes(dataset_name, pretend_world):
    DatasetCatalog.register(dataset_name, lambda: [{"id": i} for i in range(8)])
    cfg = _build_cfg(dataset_name, "DATALOADER.ASPECT_RATIO_GROUPING", False, "SEED", 1)
    cfg.SOLVER.IMS_PER_BATCH = 4
    whole = [i for batch in _train_ids(cfg, 6) for i in batch]
    for rank in range(2):
        pretend_world(2, rank)
        own = _train_ids(cfg, 6)
        assert all(len(batch) == 2 for batch in own)
        assert [i for batch in own for i in batch] == whole[rank::2]


def test_train_loader_with_parts_of_ones_own():
    cfg = _build_cfg("unused", "DATALOADER.ASPECT_RATIO_GROUPING", False)
    loader = build_detection_train_loader(
        cfg,
        mapper=_double,
        dataset=[1, 2, 3],
        sampler=TrainingSampler(3, shuffle=False, seed=0),
        total_batch_size=1,
    )
    assert list(islice(loader, 4)) == [[2], [4], [6], [2]]


def test_train_loader_of_an_iterable_dataset():
    cfg = _build_cfg("unused", "DATALOADER.ASPECT_RATIO_GROUPING", False)
    loader = build_detection_train_loader(cfg, mapper=_double_even, dataset=Numbers(9))
    assert list(loader) == [[0, 4], [8, 12]]


def test_train_loader_skips_what_is_mapped_to_none():
    loader = build_detection_train_loader(
        list(range(6)), mapper=_double_even, total_batch_size=2, aspect_ratio_grouping=False
    )
    assert {i for batch in islice(loader, 20) for i in batch} == {0, 4, 8}


def test_train_loader_of_a_wrong_config(dataset_name):
    with pytest.raises(KeyError, match="not registered"):
        build_detection_train_loader(_build_cfg(dataset_name))
    with pytest.raises(AssertionError):
        build_detection_train_loader(_build_cfg(dataset_name, "DATASETS.TRAIN", ()))
    DatasetCatalog.register(dataset_name, lambda: [{"id": 0}])
    with pytest.raises(ValueError, match="Unknown training sampler: Alphabetical"):
        build_detection_train_loader(
            _build_cfg(dataset_name, "DATALOADER.SAMPLER_TRAIN", "Alphabetical")
        )


def _draw(number):
    return float(np.random.uniform()), float(torch.rand(()))


def test_workers_draw_different_random_numbers():
    loader = build_detection_train_loader(
        list(range(8)),
        mapper=_draw,
        total_batch_size=2,
        num_workers=2,
        aspect_ratio_grouping=False,
    )
    draws = [pair for batch in islice(loader, 4) for pair in batch]
    assert len({numpy for numpy, _ in draws}) == 8
    assert len({torch_ for _, torch_ in draws}) == 8


def test_random_numbers_of_workers_follow_the_seed():
    def draws(seed):
        loader = build_batch_data_loader(
            MapDataset(list(range(8)), _draw),
            TrainingSampler(8, seed=0),
            2,
            num_workers=2,
            seed=seed,
        )
        return list(islice(loader, 4))

    first = draws(3)
    torch.manual_seed(77)
    assert draws(3) == first
    assert draws(4) != first


# --- test loader


def test_test_loader_of_a_config(dataset_name, pictures):
    DatasetCatalog.register(dataset_name, lambda: pictures)
    loader = build_detection_test_loader(_build_cfg(dataset_name), dataset_name)
    assert len(loader) == 5
    batches = list(loader)
    assert all(len(batch) == 1 for batch in batches)
    assert [b[0]["file_name"] for b in batches] == [p["file_name"] for p in pictures]
    assert all(min(b[0]["image"].shape[1:]) == 12 for b in batches)
    assert all(b[0]["sem_seg"].shape == b[0]["image"].shape[1:] for b in batches)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_test_loader_goes_through_the_set_once(num_workers):
    loader = build_detection_test_loader(
        list(range(5)), mapper=_double, batch_size=2, num_workers=num_workers
    )
    assert len(loader) == 3
    assert list(loader) == list(loader) == [[0, 2], [4, 6], [8]]


def test_test_loader_shares_the_set_among_processes(pretend_world):
    batches = []
    for rank in range(2):
        pretend_world(2, rank)
        batches.append(list(build_detection_test_loader(list(range(5)), mapper=_double)))
    assert batches == [[[0], [2], [4]], [[6], [8]]]


def test_test_loader_keeps_images_without_objects(dataset_name):
    DatasetCatalog.register(dataset_name, lambda: [{"id": 0, "annotations": []}])
    loader = build_detection_test_loader(_build_cfg(dataset_name), dataset_name, mapper=_id)
    assert list(loader) == [[0]]


def test_test_loader_overrides():
    loader = build_detection_test_loader(
        [1, 2, 3], mapper=None, sampler=InferenceSampler(2), collate_fn=tuple
    )
    assert list(loader) == [(1,), (2,)]
    assert list(build_detection_test_loader(Numbers(2), mapper=_double)) == [[0], [2]]
    with pytest.raises(AssertionError):
        build_detection_test_loader(Numbers(2), mapper=_double, sampler=InferenceSampler(2))
