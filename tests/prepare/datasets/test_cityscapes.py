"""Cityscapes from miniatures of its archives."""

from dataclasses import replace

import pytest

from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.prepare.datasets import (
    PreparationReport,
    check_datasets,
    cityscapes,
    prepare_cityscapes,
)
from ovseg_d2.prepare.datasets.owners import benchmark

FRAMES = [
    "val/frankfurt/frankfurt_000000_000294",
    "val/munster/munster_000000_000019",
    "train/aachen/aachen_000000_000019",
]


def labels(mini) -> dict[str, bytes]:
    """Files of gtFine_trainvaltest.zip."""
    files = {"README": b"", "license.txt": b""}
    for frame in FRAMES:
        path = f"gtFine/{frame}_gtFine"
        files[f"{path}_labelIds.png"] = mini.png([[7, 8, 33, 3], [0, 26, 29, 23]])
        files[f"{path}_instanceIds.png"] = mini.png([[7, 8, 33, 3]])
        files[f"{path}_color.png"] = mini.png([[1]], palette=True)
        files[f"{path}_polygons.json"] = b"{}"
    return files


def images(mini) -> dict[str, bytes]:
    """Files of leftImg8bit_trainvaltest.zip."""
    return {f"leftImg8bit/{frame}_leftImg8bit.png": mini.png([[9] * 4] * 2) for frame in FRAMES}


def test_prepare_cityscapes_makes_train_ids(mini, monkeypatch) -> None:
    mini.pack("leftImg8bit_trainvaltest.zip", images(mini))
    mini.pack("gtFine_trainvaltest.zip", labels(mini))
    report = prepare_cityscapes(mini.root, mini.downloads, splits=("val", "train"), workers=1)
    assert (report.made, report.problems) == (9, ())
    for frame in FRAMES:
        made = mini.labels(f"cityscapes/gtFine/{frame}_gtFine_labelTrainIds.png")
        assert made.tolist() == [[0, 1, 18, 255], [255, 13, 255, 10]]
    monkeypatch.setenv("DETECTRON2_DATASETS", str(mini.root))
    ids = [entry["image_id"] for entry in DatasetCatalog.get("ovseg_cityscapes_val")]
    assert ids == ["frankfurt/frankfurt_000000_000294", "munster/munster_000000_000019"]


def test_prepare_cityscapes_unpacked_with_train_ids_is_left_alone(mini, monkeypatch) -> None:
    """cityscapesScripts may have drawn them; then label ids are not needed."""
    mini.unpack(images(mini), "cityscapes")
    trains = {f"gtFine/{frame}_gtFine_labelTrainIds.png": b"drawn" for frame in FRAMES[:2]}
    mini.unpack(trains, "cityscapes")
    with pytest.raises(FileNotFoundError, match=r"_gtFine_labelIds\.png, .* gtFine_trainvaltest"):
        prepare_cityscapes(mini.root, workers=1)  # 498 frames are missing
    small = replace(benchmark("ovseg_cityscapes_val"), num_images=2)
    monkeypatch.setattr(cityscapes, "benchmark", lambda name: small)
    assert prepare_cityscapes(mini.root, workers=1) == PreparationReport(0, 2, ())


def test_prepare_cityscapes_refuses_ids_that_it_does_not_have(mini) -> None:
    files = labels(mini)
    files[f"gtFine/{FRAMES[0]}_gtFine_labelIds.png"] = mini.png([[0, 255]])
    mini.pack("leftImg8bit_trainvaltest.zip", images(mini))
    mini.pack("gtFine_trainvaltest.zip", files)
    (problem,) = prepare_cityscapes(mini.root, mini.downloads, workers=1).problems
    assert "frankfurt_000000_000294_gtFine_labelIds.png holds the id 255" in problem


def test_check_finds_label_ids_in_the_place_of_train_ids(mini) -> None:
    mini.pack("leftImg8bit_trainvaltest.zip", images(mini))
    mini.pack("gtFine_trainvaltest.zip", labels(mini))
    prepare_cityscapes(mini.root, mini.downloads, workers=1)
    folder = mini.root / "cityscapes/gtFine" / FRAMES[0]
    ids = folder.with_name(f"{folder.name}_gtFine_labelIds.png")
    ids.replace(folder.with_name(f"{folder.name}_gtFine_labelTrainIds.png"))
    (result,) = check_datasets(["ovseg_cityscapes_val"], mini.root, workers=1)
    assert result.num_images == 2
    assert "4 ids have no class among 0 to 18 and 255: 23 in frankfurt" in result.findings[1]


def test_prepared_cityscapes_evaluates_through_a_papers_config(mini, evaluate_prepared) -> None:
    mini.pack("leftImg8bit_trainvaltest.zip", images(mini))
    mini.pack("gtFine_trainvaltest.zip", labels(mini))
    prepare_cityscapes(mini.root, mini.downloads, workers=1)
    results = evaluate_prepared("ovseg_cityscapes_val")
    assert results["images"] == 2
    assert 0 <= results["mIoU"] <= 100
