"""Contract of the catalogs, with detectron2 and with the stand-in."""

import pytest

from ovseg_d2.d2.data import DatasetCatalog, Metadata, MetadataCatalog


def test_dataset_is_loaded_anew_at_each_get(dataset_name):
    calls = []

    def load():
        calls.append(1)
        return [{"file_name": "a.png"}]

    DatasetCatalog.register(dataset_name, load)
    assert not calls
    assert DatasetCatalog.get(dataset_name) == [{"file_name": "a.png"}]
    assert DatasetCatalog.get(dataset_name) is not DatasetCatalog.get(dataset_name)
    assert len(calls) == 3
    assert dataset_name in DatasetCatalog
    assert dataset_name in DatasetCatalog.list()


def test_dataset_is_registered_once(dataset_name):
    DatasetCatalog.register(dataset_name, list)
    with pytest.raises(AssertionError, match=f"Dataset '{dataset_name}' is already registered!"):
        DatasetCatalog.register(dataset_name, list)
    DatasetCatalog.remove(dataset_name)
    DatasetCatalog.register(dataset_name, list)


def test_dataset_must_be_a_function(dataset_name):
    with pytest.raises(AssertionError):
        DatasetCatalog.register(dataset_name, [{"file_name": "a.png"}])
    assert dataset_name not in DatasetCatalog


def test_unknown_dataset_names_the_known_ones(dataset_name):
    DatasetCatalog.register(dataset_name, list)
    with pytest.raises(KeyError, match=f"'ovseg_nowhere' is not registered.*{dataset_name}"):
        DatasetCatalog.get("ovseg_nowhere")


def test_metadata_are_made_on_demand_and_shared(dataset_name):
    meta = MetadataCatalog.get(dataset_name)
    assert isinstance(meta, Metadata)
    assert meta.name == dataset_name
    meta.stuff_classes = ["sky", "sea"]
    assert MetadataCatalog.get(dataset_name) is meta
    assert MetadataCatalog.get(dataset_name).stuff_classes == ["sky", "sea"]
    assert dataset_name in MetadataCatalog.list()
    MetadataCatalog.remove(dataset_name)
    assert MetadataCatalog.get(dataset_name) is not meta


def test_metadata_of_a_nameless_dataset():
    with pytest.raises(AssertionError):
        MetadataCatalog.get("")


def test_metadata_never_change(dataset_name):
    meta = MetadataCatalog.get(dataset_name).set(ignore_label=255, stuff_classes=["sky"])
    meta.ignore_label = 255
    with pytest.raises(AssertionError, match=r"(?s)'ignore_label'.*cannot be set.*255 != 0"):
        meta.ignore_label = 0
    with pytest.raises(AssertionError):
        meta.set(stuff_classes=["sky", "sea"])
    assert meta.ignore_label == 255
    assert meta.stuff_classes == ["sky"]


def test_missing_metadata_name_what_there_is(dataset_name):
    meta = MetadataCatalog.get(dataset_name)
    with pytest.raises(AttributeError, match=f"'colors'.*'{dataset_name}'.*metadata is empty"):
        _ = meta.colors
    meta.ignore_label = 255
    with pytest.raises(AttributeError, match=f"'colors'.*'{dataset_name}'.*ignore_label"):
        _ = meta.colors
    assert not hasattr(meta, "colors")
    assert meta.get("colors") is None
    assert meta.get("colors", 3) == 3
    assert meta.get("ignore_label", 3) == 255


def test_as_dict_is_a_copy(dataset_name):
    meta = MetadataCatalog.get(dataset_name).set(ignore_label=255)
    as_dict = meta.as_dict()
    assert as_dict == {"name": dataset_name, "ignore_label": 255}
    as_dict["ignore_label"] = 0
    assert meta.ignore_label == 255


def test_old_key_is_the_new_one_with_a_warning(dataset_name, d2_log):
    meta = MetadataCatalog.get(dataset_name)
    meta.stuff_class_names = ["sky"]
    assert meta.stuff_classes == meta.stuff_class_names == ["sky"]
    assert any("'stuff_class_names' was renamed to 'stuff_classes'" in line for line in d2_log)
    with pytest.raises(AssertionError):
        meta.stuff_class_names = ["sea"]
    assert "stuff_class_names" not in meta.as_dict()
