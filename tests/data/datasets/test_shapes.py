"""The splits and views of the Shapes world in the catalogs."""

import pytest

import ovseg_d2  # noqa: F401  (importing it registers the datasets)
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.data import shapes
from ovseg_d2.data.datasets import SHAPES_SIZES, shapes_dataset_name
from ovseg_d2.data.datasets.shapes import SHAPES_VIEWS, shapes_dicts, shapes_view_dicts
from ovseg_d2.data.readers import read_category, read_image_of, read_labels


@pytest.mark.parametrize("split", ["train", "dev", "val"])
def test_shapes_splits_are_registered(split):
    name = shapes_dataset_name(split)
    assert name == f"ovseg_shapes_{split}"
    dicts = DatasetCatalog.get(name)
    assert len(dicts) == SHAPES_SIZES[split] == {"train": 20000, "dev": 500, "val": 1000}[split]
    assert len({entry["file_name"] for entry in dicts}) == len(dicts)
    last = dicts[-1]
    assert last["image_id"] == len(dicts) - 1
    assert shapes.parse_name(last["file_name"]) == (split, 0, len(dicts) - 1)
    assert read_image_of(last["file_name"]).shape == (last["height"], last["width"], 3)
    assert read_labels(last["sem_seg_file_name"]).shape == (last["height"], last["width"])


@pytest.mark.parametrize("split", ["train", "dev", "val"])
def test_shapes_metadata(split):
    metadata = MetadataCatalog.get(shapes_dataset_name(split))
    assert tuple(metadata.stuff_classes) == shapes.CLASSES
    assert {name: tuple(ids) for name, ids in metadata.class_sets.items()} == shapes.CLASS_SETS
    assert metadata.ignore_label == 255
    assert metadata.evaluator_type == "sem_seg"


def test_shapes_dicts_seed_and_size():
    assert [entry["file_name"] for entry in shapes_dicts("dev", seed=4, size=2)] == [
        "shapes://dev/4/0",
        "shapes://dev/4/1",
    ]
    assert shapes_dicts("dev", size=0) == []


@pytest.mark.parametrize("split", ["dev", "val"])
def test_shapes_views_are_registered(split):
    size = SHAPES_SIZES[split]
    for view, evaluator_type in SHAPES_VIEWS.items():
        name = f"ovseg_shapes_{split}_{view}"
        dicts = DatasetCatalog.get(name)
        assert len({entry["file_name"] for entry in dicts}) == len(dicts)
        assert MetadataCatalog.get(name).evaluator_type == evaluator_type
        assert tuple(MetadataCatalog.get(name).stuff_classes) == shapes.CLASSES
        assert len(dicts) == (4 * size if view == "probe" else size)


def test_crop_views_are_read_by_name():
    sizes = set()
    for entry in shapes_view_dicts("crops", "dev", size=20):
        crop, class_id = shapes.read_crop(entry["file_name"])
        assert (read_image_of(entry["file_name"]) == crop).all()
        assert read_category(entry) == class_id
        sizes.add(crop.shape)
    assert len(sizes) > 10


def test_probe_view_fits_on_train():
    dicts = shapes_view_dicts("probe", "val", size=3)
    assert [entry["probe_part"] for entry in dicts] == ["fit", "fit", "fit", "test"] * 3
    for entry in dicts:
        split = entry["file_name"].removeprefix("shapes://").split("/")[0]
        assert split == {"fit": "train", "test": "val"}[entry["probe_part"]]
    assert not {"withheld"} & {
        name
        for entry in dicts
        for name, ids in shapes.CLASS_SETS.items()
        if entry["probe_part"] == "fit" and read_category(entry) in ids
    }
