"""ADE-150 and ADE-847 from miniatures of their archives."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from ovseg_d2.data.readers import read_image_of
from ovseg_d2.prepare.datasets import check_datasets, prepare_ade150, prepare_ade847

CHALLENGE, FULL = "ADEChallengeData2016", "ADE20K_2021_17_01"
WALL, TREE, UNKNOWN = (110, 162), (110, 39), (10, 1)  # R and G of numbers 2978, 2855 and 257


def challenge(mini) -> dict[str, bytes]:
    """Files of ADEChallengeData2016.zip."""
    files = {f"{CHALLENGE}/objectInfo150.txt": b"Idx\tRatio\n", f"{CHALLENGE}/images/": b""}
    for split, name in (("training", "train"), ("validation", "val")):
        for number in (1, 2):
            stem = f"{split}/ADE_{name}_0000000{number}"
            files[f"{CHALLENGE}/images/{stem}.jpg"] = mini.jpg(4, 3)
            files[f"{CHALLENGE}/annotations/{stem}.png"] = mini.png([[0, 1, 150]] * 4)
    return files


def colors(*objects: tuple[int, int], size: tuple[int, int]) -> bytes:
    """A file *_seg.png with an object in each quarter; blue numbers the instances."""
    pixels = np.zeros((*size, 3), np.uint8)
    for number, (red, green) in enumerate(objects):
        part = pixels[number // 2 * size[0] // 2 :, number % 2 * size[1] // 2 :]
        part[:] = (red + number, green, 7 * number)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def full(mini, height: int = 4, width: int = 6) -> dict[str, bytes]:
    """Files of ADE20K_2021_17_01.zip: scenes, parts of objects, and masks of instances."""
    files = {f"{FULL}/index_ade20k.pkl": b"", f"{FULL}/objects.txt": b""}
    scenes = {
        "training/urban/street/ADE_train_00016869": (WALL, TREE, UNKNOWN, WALL),
        "training/home_or_hotel/attic/ADE_frame_00000011": (TREE, TREE, TREE, TREE),
        "validation/urban/alley/ADE_val_00000001": (WALL, UNKNOWN, TREE, TREE),
    }
    for stem, objects in scenes.items():
        path = f"{FULL}/images/ADE/{stem}"
        files[f"{path}.jpg"] = mini.jpg(height, width)
        files[f"{path}.json"] = b"{}"
        files[f"{path}_seg.png"] = colors(*objects, size=(height, width))
        files[f"{path}_parts_1.png"] = colors(TREE, size=(height, width))
        name = stem.rpartition("/")[2]
        files[f"{path}/instance_000_{name}.png"] = mini.png([[255]])
    return files


def test_prepare_ade150_takes_one_off_every_label(mini) -> None:
    mini.pack("ADEChallengeData2016.zip", challenge(mini))
    report = prepare_ade150(mini.root, mini.downloads, splits=("val", "train"), workers=1)
    assert (report.made, report.problems) == (12, ())
    for file in ("validation/ADE_val_00000002", "training/ADE_train_00000001"):
        labels = mini.labels(f"{CHALLENGE}/annotations_detectron2/{file}.png")
        assert labels.dtype == np.uint8
        assert labels.tolist() == [[255, 0, 149]] * 4
        assert (mini.root / f"{CHALLENGE}/images/{file}.jpg").is_file()


def test_prepare_ade150_refuses_labels_that_are_shifted_already(mini) -> None:
    files = challenge(mini)
    files[f"{CHALLENGE}/annotations/validation/ADE_val_00000001.png"] = mini.png([[255, 0]])
    mini.pack("ADEChallengeData2016.zip", files)
    (problem,) = prepare_ade150(mini.root, mini.downloads, workers=1).problems
    assert "ADE_val_00000001.png holds the id 255" in problem
    out = os.listdir(mini.root / f"{CHALLENGE}/annotations_detectron2/validation")
    assert out == ["ADE_val_00000002.png"]


def test_prepare_ade847_reads_the_classes_from_the_colours(mini) -> None:
    mini.pack("ADE20K_2021_17_01.zip", full(mini))
    report = prepare_ade847(mini.root, mini.downloads, splits=("val", "train"), workers=1)
    assert report.problems == ()
    out = f"{FULL}/annotations_detectron2"
    labels = mini.labels(f"{out}/validation/ADE_val_00000001.tif")
    assert labels.dtype == np.uint16
    # 2978 is class 0, 2855 class 3, and 257 none of the 847.
    assert labels.tolist() == [[0, 0, 0, 65535, 65535, 65535]] * 2 + [[3] * 6] * 2
    names = ["ADE_frame_00000011", "ADE_train_00016869"]
    assert sorted(os.listdir(mini.root / out / "training")) == [f"{n}.tif" for n in names]
    images = mini.root / FULL / "images_detectron2"
    assert sorted(os.listdir(images / "training")) == [f"{n}.jpg" for n in names]
    assert os.listdir(images / "validation") == ["ADE_val_00000001.jpg"]
    parts = [path.name for path in mini.root.rglob("*.png")]
    assert [name for name in parts if "_seg.png" not in name] == []


@pytest.mark.parametrize(
    ("size", "shrunk"),
    [((520, 1000), (512, 985)), ((900, 600), (768, 512)), ((512, 700), (512, 700))],
)
def test_prepare_ade847_shrinks_large_images_and_their_labels(mini, size, shrunk) -> None:
    mini.pack("ADE20K_2021_17_01.zip", full(mini, *size))
    assert prepare_ade847(mini.root, mini.downloads, workers=1).problems == ()
    image = read_image_of(mini.root / f"{FULL}/images_detectron2/validation/ADE_val_00000001.jpg")
    labels = mini.labels(f"{FULL}/annotations_detectron2/validation/ADE_val_00000001.tif")
    assert image.shape[:2] == labels.shape == shrunk
    corners = labels[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 65535, 3, 3]
    # Nearest pixels: no value between two classes.
    assert np.unique(labels).tolist() == [0, 3, 65535]


def test_prepare_ade847_shrinks_as_opencv_does(mini) -> None:
    """The authors shrink with OpenCV's bilinear and nearest interpolation, without smoothing."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (600, 640, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    files = full(mini, 600, 640)
    files[f"{FULL}/images/ADE/validation/urban/alley/ADE_val_00000001.jpg"] = stream.getvalue()
    mini.pack("ADE20K_2021_17_01.zip", files)
    prepare_ade847(mini.root, mini.downloads, workers=1)
    expected = io.BytesIO()
    Image.fromarray(cv2.resize(pixels, (546, 512))).save(expected, "JPEG")
    made = mini.root / f"{FULL}/images_detectron2/validation/ADE_val_00000001.jpg"
    assert made.read_bytes() == expected.getvalue()


def test_prepare_ade847_refuses_label_files_without_colours(mini) -> None:
    files = full(mini)
    files[f"{FULL}/images/ADE/validation/urban/alley/ADE_val_00000001_seg.png"] = mini.png([[1]])
    mini.pack("ADE20K_2021_17_01.zip", files)
    (problem,) = prepare_ade847(mini.root, mini.downloads, workers=1).problems
    assert "ADE_val_00000001_seg.png has one channel" in problem


def test_check_finds_the_challenges_own_labels(mini) -> None:
    mini.pack("ADEChallengeData2016.zip", challenge(mini))
    prepare_ade150(mini.root, mini.downloads, workers=1)
    raw = mini.root / f"{CHALLENGE}/annotations/validation/ADE_val_00000001.png"
    raw.replace(mini.root / f"{CHALLENGE}/annotations_detectron2/validation/ADE_val_00000001.png")
    (result,) = check_datasets(["ovseg_ade150_val"], mini.root, workers=1)
    assert "1 label files hold the id 150, such as ADE_val_00000001" in result.findings[1]
    assert "off by one, where 0 is no class" in result.findings[1]


def test_check_finds_ade847_images_of_the_archive_beside_shrunk_labels(mini) -> None:
    mini.pack("ADE20K_2021_17_01.zip", full(mini, 520, 600))
    prepare_ade847(mini.root, mini.downloads, workers=1)
    name = "ADE_val_00000001.jpg"
    (raw,) = (mini.root / FULL / "images").rglob(name)
    raw.replace(mini.root / f"{FULL}/images_detectron2/validation/{name}")
    (result,) = check_datasets(["ovseg_ade847_val"], mini.root, workers=1)
    assert "1 label files of another size than their image" in result.findings[1]


def test_prepared_ade_evaluates_through_papers_configs(mini, evaluate_prepared) -> None:
    mini.pack("ADEChallengeData2016.zip", challenge(mini))
    mini.pack("ADE20K_2021_17_01.zip", full(mini, 30, 40))
    prepare_ade150(mini.root, mini.downloads, workers=1)
    prepare_ade847(mini.root, mini.downloads, workers=1)
    for name, count in (("ovseg_ade150_val", 2), ("ovseg_ade847_val", 1)):
        results = evaluate_prepared(name)
        assert results["images"] == count
        assert 0 <= results["mIoU"] <= 100
