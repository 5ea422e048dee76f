"""Context-59, 60 and 459 from miniatures of their archives."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from pycocotools import mask as coco_mask

from ovseg_d2.prepare.datasets import check_datasets, prepare_context, prepare_context459
from ovseg_d2.prepare.datasets.context import _CATEGORIES
from ovseg_d2.prepare.datasets.owners import datasets_of
from ovseg_d2.vocab import load_vocabulary

HOME = "VOCdevkit/VOC2010"
OUT = f"{HOME}/annotations_detectron2"
NAMES = {"2008_000002": "val", "2008_000003": "val", "2008_000008": "train", "2008_000001": "test"}
# Ids of PASCAL in Detail, from the 459 labels of Pascal Context in alphabetical order.
AEROPLANE, WOOD = 2, 458


def rle(mask: np.ndarray) -> dict[str, object]:
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def merged(**changes: object) -> dict[str, object]:
    """Content of trainval_merged.json, with the entries that the detail API reads."""
    images, segments = [], []
    left, top = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :3], top[:2] = True, True
    for name, phase in NAMES.items():
        number = int(name.replace("_", ""))
        image = {"file_name": f"{name}.jpg", "phase": phase, "height": 4, "width": 6}
        images.append({**image, "image_id": number, "date_captured": "31-Dec-2007"})
        for category, mask in ((WOOD, left), (AEROPLANE, top)):
            segment = {"id": len(segments), "image_id": number, "category_id": category}
            segments.append({**segment, "segmentation": rle(mask), "parts": [], "iscrowd": 0})
    content = {"info": {}, "images": images, "annos_segmentation": segments, "categories": []}
    return {**content, "annos_occlusion": [], "annos_boundary": [], "parts": [], **changes}


def mat(labels: object, dtype: type = np.uint16) -> bytes:
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"LabelMap": np.asarray(labels, dtype)}, do_compression=True)
    return stream.getvalue()


@pytest.fixture
def downloads(mini) -> Path:
    """All archives of Pascal Context."""
    images = {f"{HOME}/JPEGImages/{name}.jpg": mini.jpg() for name in NAMES}
    lists = {f"{HOME}/ImageSets/Main/person_trainval.txt": b"2008_000002  1\n"}
    mini.pack("VOCtrainval_03-May-2010.tar", {**images, **lists})
    labels = {f"trainval/{name}.mat": mat([[1, 459, 0, 2, 18, 284]] * 4) for name in NAMES}
    mini.pack("trainval.tar.gz", {"trainval/": b"", **labels})
    (mini.downloads / "trainval_merged.json").write_text(json.dumps(merged()))
    return mini.downloads


def test_prepare_context_draws_later_segments_over_earlier_ones(mini, downloads) -> None:
    report = prepare_context(mini.root, downloads, splits=("val", "train"))
    assert report.problems == ()
    with_background = np.array([[1] * 6] * 2 + [[59] * 3 + [0] * 3] * 2)
    without = np.where(with_background == 0, 255, with_background - 1)
    for name, split in NAMES.items():
        if split != "test":
            labels = mini.labels(f"{OUT}/context60_{split}/{name}.png")
            assert (labels == with_background).all()
            assert (mini.labels(f"{OUT}/context59_{split}/{name}.png") == without).all()
    assert len(list((mini.root / OUT).rglob("*.png"))) == 6
    for result in check_datasets(datasets_of("context"), mini.root, workers=1):
        (finding,) = result.findings
        assert "images have labels, and the benchmark has" in finding
    images = {path.stem for path in (mini.root / HOME / "JPEGImages").iterdir()}
    assert images == set(NAMES) - {"2008_000001"}
    assert prepare_context(mini.root, downloads, splits=("val", "train")).made == 0


def test_context_categories_are_the_classes_of_the_word_list() -> None:
    every = ["background", *load_vocabulary("context459").names]
    assert [every[category] for category in _CATEGORIES] == list(load_vocabulary("context60").names)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"category_id": 5}, "its category 5 is none of the 59"),
        ({"segmentation": {"size": [4, 6], "counts": "0"}}, "do not fill 4 x 6 pixels"),
        ({"segmentation": {"size": [9, 9], "counts": "0"}}, r"has the size \[9, 9\]"),
    ],
)
def test_prepare_context_skips_images_with_wrong_segments(mini, downloads, change, message) -> None:
    content = merged()
    content["annos_segmentation"][0].update(change)
    (downloads / "trainval_merged.json").write_text(json.dumps(content))
    (problem,) = prepare_context(mini.root, downloads).problems
    with pytest.raises(ValueError, match=message):
        raise ValueError(problem)
    assert [path.stem for path in (mini.root / OUT / "context60_val").iterdir()] == ["2008_000003"]


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        merged(images=[{"file_name": "../a.jpg", "phase": "val", "height": 4, "width": 4}]),
        merged(images=[{**merged()["images"][0], "height": 10**9}]),
        merged(images=[{**merged()["images"][0], "file_name": "../a.jpg"}]),
        merged(annos_segmentation=[{}]),
    ],
)
def test_prepare_context_refuses_another_json(mini, downloads, content) -> None:
    (downloads / "trainval_merged.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"is not trainval_merged\.json.*download it again"):
        prepare_context(mini.root, downloads)


def test_prepare_context_refuses_a_truncated_json(mini, downloads) -> None:
    (downloads / "trainval_merged.json").write_text(json.dumps(merged())[:-9])
    with pytest.raises(ValueError, match=r"cannot read .*trainval_merged\.json.*again"):
        prepare_context(mini.root, downloads)


def test_prepare_context459_writes_16_bits_and_ignores_0(mini, downloads) -> None:
    report = prepare_context459(mini.root, downloads, splits=("val", "train"))
    assert report.problems == ()
    for name, split in list(NAMES.items())[:3]:
        labels = mini.labels(f"{OUT}/pc459_{split}/{name}.tif")
        assert labels.dtype == np.uint16
        assert (labels == [[0, 458, 65535, 1, 17, 283]] * 4).all()


def test_prepare_context459_takes_the_list_of_other_projects(mini, downloads) -> None:
    (downloads / "trainval_merged.json").unlink()
    mini.unpack({"pascalcontext_val.txt": b"2008_000002"}, HOME)
    assert prepare_context459(mini.root, downloads).problems == ()
    assert len(list((mini.root / OUT / "pc459_val").iterdir())) == 1
    with pytest.raises(FileNotFoundError, match=r"no trainval_merged\.json"):
        prepare_context459(mini.root, downloads, splits=["train"])


@pytest.mark.parametrize(
    "content, message",
    [
        (b"no mat", "is no MATLAB file with a LabelMap"),
        (mat([[1, 2]])[:-3], "is no MATLAB file with a LabelMap"),
        (mat([[460]]), "holds the id 460"),
        (mat(np.zeros((2, 2, 2))), "has shape"),
    ],
)
def test_prepare_context459_skips_broken_label_maps(mini, downloads, content, message) -> None:
    mini.unpack({f"{HOME}/trainval/2008_000002.mat": content})
    (downloads / "trainval.tar.gz").unlink()
    mini.unpack({f"{HOME}/trainval/2008_000003.mat": mat([[1]])})
    (problem,) = prepare_context459(mini.root, downloads).problems
    assert message in problem


def test_prepared_context_evaluates_through_papers_configs(
    mini, downloads, evaluate_prepared
) -> None:
    prepare_context(mini.root, downloads, workers=1)
    prepare_context459(mini.root, downloads, workers=1)
    for name in ("ovseg_context59_val", "ovseg_context60_val", "ovseg_context459_val"):
        results = evaluate_prepared(name)
        assert results["images"] == 2
        assert 0 <= results["mIoU"] <= 100
