"""The table of benchmarks, on tiny folders in the real layouts."""

import copy
import logging
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ovseg_d2  # noqa: F401  (importing it registers the datasets)
from ovseg_d2.d2.data import DatasetCatalog, MetadataCatalog
from ovseg_d2.data.datasets import BENCHMARKS, benchmarks
from ovseg_d2.data.datasets.benchmarks import Benchmark, BenchmarkMetadata
from ovseg_d2.data.readers import read_image_of, read_labels
from ovseg_d2.evaluation import OVSegSemSegEvaluator
from ovseg_d2.vocab import load_vocabulary

_BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}
_NAMES = sorted(_BY_NAME)
# Name of a benchmark -> an image and its label file in the benchmark's layout.
_LAYOUTS = (Path(__file__).parent / "layouts.tsv").read_text(encoding="utf-8").splitlines()[1:]
_FILES = {name: (image, label) for name, image, label in map(str.split, _LAYOUTS)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that DETECTRON2_DATASETS names."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def _write_image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5, 3), 90, np.uint8)).save(file)


def _write_labels(file: Path, benchmark: Benchmark) -> np.ndarray:
    """The first and the last class, and two ignored pixels."""
    labels = np.zeros((4, 5), benchmark.label_dtype)
    labels[2:] = len(load_vocabulary(benchmark.word_list)) - 1
    labels[0, :2] = benchmark.ignore_label
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(file)
    return labels


def test_benchmark_names_and_class_counts() -> None:
    assert set(_NAMES) == set(_FILES)
    assert set(_NAMES) <= set(DatasetCatalog.list())
    sizes = {name: len(MetadataCatalog.get(name).stuff_classes) for name in _NAMES}
    assert sizes == {
        "ovseg_ade150_train": 150,
        "ovseg_ade150_val": 150,
        "ovseg_ade847_train": 847,
        "ovseg_ade847_val": 847,
        "ovseg_cityscapes_train": 19,
        "ovseg_cityscapes_val": 19,
        "ovseg_coco_object_train": 81,
        "ovseg_coco_object_val": 81,
        "ovseg_coco_stuff171_train": 171,
        "ovseg_coco_stuff171_val": 171,
        "ovseg_context459_train": 459,
        "ovseg_context459_val": 459,
        "ovseg_context59_train": 59,
        "ovseg_context59_val": 59,
        "ovseg_context60_train": 60,
        "ovseg_context60_val": 60,
        "ovseg_voc20_train": 20,
        "ovseg_voc20_val": 20,
        "ovseg_voc21_train": 21,
        "ovseg_voc21_val": 21,
    }


@pytest.mark.parametrize("name", _NAMES)
def test_benchmark_is_listed_read_and_evaluated(name: str, root: Path) -> None:
    benchmark, (image, label) = _BY_NAME[name], _FILES[name]
    _write_image(root / image)
    labels = _write_labels(root / label, benchmark)
    (record,) = DatasetCatalog.get(name)
    assert record["file_name"] == str(root / image)
    assert record["sem_seg_file_name"] == str(root / label)
    assert read_image_of(record["file_name"]).shape == (4, 5, 3)
    assert np.array_equal(read_labels(record["sem_seg_file_name"]), labels)

    evaluator = OVSegSemSegEvaluator(name, distributed=False, sem_seg_loading_fn=read_labels)
    evaluator.reset()
    num_classes = len(MetadataCatalog.get(name).stuff_classes)
    scores = torch.zeros(num_classes, 4, 5)
    scores[-1] = 1
    evaluator.process([record], [{"sem_seg": scores}])
    # 8 pixels of the first class are missed; 10 of the 18 that count are found.
    numbers = evaluator.evaluate()["sem_seg"]
    assert numbers["pACC"] == pytest.approx(100 * 10 / 18)
    assert numbers["mIoU"] == pytest.approx((0 + 100 * 10 / 18) / 2)
    last = MetadataCatalog.get(name).stuff_classes[-1]
    assert numbers[f"IoU-{last}"] == pytest.approx(100 * 10 / 18)


def test_ignore_labels() -> None:
    wide = {
        f"ovseg_{name}_{split}" for name in ("ade847", "context459") for split in ("train", "val")
    }
    for name in _NAMES:
        assert MetadataCatalog.get(name).ignore_label == (65535 if name in wide else 255)
        assert (
            len(MetadataCatalog.get(name).stuff_classes) <= MetadataCatalog.get(name).ignore_label
        )


def test_metadata_hold_class_sets_and_vocabulary() -> None:
    metadata = MetadataCatalog.get("ovseg_voc21_val")
    assert metadata.class_sets["unseen"] == [16, 17, 18, 19, 20]
    assert metadata.vocabulary is load_vocabulary("voc21")
    assert metadata.evaluator_type == "sem_seg"
    assert MetadataCatalog.get("ovseg_cityscapes_val").class_sets == {}


def test_datasets_root_is_read_at_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, label = _FILES["ovseg_voc20_val"]
    for place in ("one", "two"):
        monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / place))
        _write_image(tmp_path / place / image)
        _write_labels(tmp_path / place / label, _BY_NAME["ovseg_voc20_val"])
        (record,) = DatasetCatalog.get("ovseg_voc20_val")
        assert record["file_name"] == str(tmp_path / place / image)
    monkeypatch.delenv("DETECTRON2_DATASETS")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").rename(tmp_path / "datasets")
    (record,) = DatasetCatalog.get("ovseg_voc20_val")
    assert record["file_name"] == str(Path("datasets") / image)


@pytest.mark.parametrize("name", _NAMES)
def test_load_dicts_missing_folder_error(name: str, root: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        DatasetCatalog.get(name)
    message = str(caught.value)
    assert "\n" not in message
    assert str(root / _BY_NAME[name].image_folder) in message
    assert f"DETECTRON2_DATASETS (now {str(root)!r})" in message
    assert "datasets/README.md says which files this one needs" in message
    # Images alone are not enough.
    _write_image(root / _FILES[name][0])
    with pytest.raises(FileNotFoundError, match=re.escape(_BY_NAME[name].label_folder)):
        DatasetCatalog.get(name)


def test_load_dicts_without_common_names(root: Path) -> None:
    name = "ovseg_ade150_val"
    image, label = _FILES[name]
    _write_image(root / image)
    _write_labels(root / label.replace("00000001", "00000002"), _BY_NAME[name])
    with pytest.raises(FileNotFoundError, match=r"no image '\*\.jpg' in .* has labels"):
        DatasetCatalog.get(name)


def test_load_dicts_warns_of_missing_partners(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = "ovseg_ade150_val"
    image, label = _FILES[name]
    for number in "13456":
        _write_image(root / image.replace("00000001", f"0000000{number}"))
    for number in "12":
        _write_labels(root / label.replace("00000001", f"0000000{number}"), _BY_NAME[name])
    with caplog.at_level(logging.WARNING):
        records = DatasetCatalog.get(name)
    assert [record["image_id"] for record in records] == ["ADE_val_00000001"]
    without_labels, without_image, too_few = [r.getMessage() for r in caplog.records]
    assert "4 images in" in without_labels
    assert without_labels.endswith(
        "left out: ADE_val_00000003, ADE_val_00000004, ADE_val_00000005, ..."
    )
    assert "1 label files in" in without_image
    assert without_image.endswith("left out: ADE_val_00000002")
    assert "holds 1 images; the benchmark has 2000" in too_few


def test_load_dicts_shared_image_folder(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    image, label = _FILES["ovseg_voc20_val"]
    for stem in ("2007_000033", "2007_000032"):
        _write_image(root / image.replace("2007_000033", stem))
    _write_labels(root / label, _BY_NAME["ovseg_voc20_val"])
    with caplog.at_level(logging.WARNING):
        assert len(replace(_BY_NAME["ovseg_voc20_val"], num_images=1).load_dicts()) == 1
    assert caplog.records == []


def test_cityscapes_ids_hold_the_city(root: Path) -> None:
    image, label = _FILES["ovseg_cityscapes_val"]
    for city in ("munster", "lindau"):
        _write_image(root / image.replace("val/munster/munster", f"val/{city}/munster"))
        _write_labels(
            root / label.replace("val/munster/munster", f"val/{city}/munster"),
            _BY_NAME["ovseg_cityscapes_val"],
        )
    _write_image(root / label.replace("labelTrainIds", "color"))
    records = DatasetCatalog.get("ovseg_cityscapes_val")
    assert [record["image_id"] for record in records] == [
        "lindau/munster_000000_000019",
        "munster/munster_000000_000019",
    ]


def _fresh_metadata() -> BenchmarkMetadata:
    return BenchmarkMetadata(name="some", word_list="voc20", ignore_label=255)


def test_metadata_read_the_word_list_on_access(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(name: str):
        loaded.append(name)
        return load_vocabulary(name)

    monkeypatch.setattr(benchmarks, "load_vocabulary", load)
    metadata = _fresh_metadata()
    assert metadata.ignore_label == 255
    assert metadata.get("thing_classes") is None
    assert loaded == []
    assert metadata.get("class_sets")["unseen"] == [15, 16, 17, 18, 19]
    assert metadata.stuff_classes[0] == "aeroplane"
    assert metadata.vocabulary.synonyms[0] == ("airplane",)
    assert loaded == ["voc20"]


def test_metadata_classes_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="thing_classes"):
        _ = _fresh_metadata().thing_classes
    assert len(_fresh_metadata().as_dict()["stuff_classes"]) == 20
    # Classes other than those of the word list are refused, before and after it is read.
    metadata = _fresh_metadata()
    metadata.set(thing_classes=["dog"])
    with pytest.raises(AssertionError, match="cannot be set to a different value"):
        metadata.set(stuff_classes=["dog"])
    metadata.stuff_classes = list(load_vocabulary("voc20").names)
    with pytest.raises(AssertionError, match="cannot be set to a different value"):
        metadata.stuff_classes = ["dog"]


@pytest.mark.parametrize("is_read", [True, False])
def test_metadata_can_be_copied_and_pickled(is_read: bool) -> None:
    metadata = _fresh_metadata()
    if is_read:
        assert metadata.stuff_classes
    for twin in (copy.deepcopy(metadata), pickle.loads(pickle.dumps(metadata))):
        assert twin.name == "some"
        assert twin.stuff_classes[19] == "tvmonitor"
