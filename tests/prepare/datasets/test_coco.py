"""COCO-Stuff-171 and COCO-Object from miniatures of their archives."""

import os
import signal

import numpy as np
import pytest

from ovseg_d2.prepare.datasets import check_datasets, coco, prepare_coco
from ovseg_d2.prepare.datasets.owners import benchmark

VALUES = np.array([[0, 10, 12, 89], [91, 181, 255, 11]])
NAMES = ["000000000139", "000000000285"]


def pack(mini) -> None:
    """The archives of COCO 2017 and COCO-Stuff; the latter has no folder around its two."""
    maps = {}
    for split, names in (("val2017", NAMES), ("train2017", ["000000000009"])):
        mini.pack(f"{split}.zip", {f"{split}/{name}.jpg": mini.jpg(2, 4) for name in names})
        maps |= {f"{split}/{name}.png": mini.png(VALUES) for name in names}
    mini.pack("stuffthingmaps_trainval2017.zip", maps)


def test_prepare_coco_makes_stuff_and_objects(mini) -> None:
    pack(mini)
    report = prepare_coco(mini.root, mini.downloads, splits=("val", "train"), workers=1)
    assert (report.made, report.problems) == (3 + 3 + 2 * 3, ())
    for file in (f"val2017/{NAMES[0]}", "train2017/000000000009"):
        stuff = mini.labels(f"coco/stuffthingmaps_detectron2/{file}.png")
        assert stuff.tolist() == [[0, 10, 11, 79], [80, 170, 255, 255]]
        objects = mini.labels(f"coco/object_detectron2/{file}.png")
        assert objects.tolist() == [[1, 11, 12, 80], [0, 0, 0, 0]]
        assert (mini.root / f"coco/{file}.jpg").is_file()


def test_prepare_coco_val_needs_no_training_images(mini) -> None:
    pack(mini)
    (mini.downloads / "train2017.zip").unlink()
    assert prepare_coco(mini.root, mini.downloads, workers=1).problems == ()
    assert not (mini.root / "coco/train2017").exists()
    with pytest.raises(FileNotFoundError, match=r"no train2017\.zip .* images\.cocodataset\.org"):
        prepare_coco(mini.root, mini.downloads, splits=["train"])


def test_prepare_coco_refuses_values_of_no_category(mini) -> None:
    pack(mini)
    mini.unpack({f"coco/stuffthingmaps/val2017/{NAMES[0]}.png": mini.png([[182]])})
    problems = prepare_coco(mini.root, workers=1, archives=mini.downloads).problems
    assert sum(f"{NAMES[0]}.png holds the id 182" in problem for problem in problems) == 2


def test_prepare_coco_killed_goes_on_with_what_is_missing(mini) -> None:
    pack(mini)
    child = os.fork()
    if not child:

        def convert(table, source, target):
            if target.parts[-3] == "object_detectron2":
                os.kill(os.getpid(), signal.SIGKILL)
            original(table, source, target)

        original, coco.convert_labels = coco.convert_labels, convert
        prepare_coco(mini.root, mini.downloads, workers=1)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in mini.root.rglob("*.*") if path.is_file()}
    assert len(made) == 6
    report = prepare_coco(mini.root, mini.downloads, workers=1)
    assert (report.made, report.problems) == (2, ())
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.parametrize(
    ("name", "raw", "finding"),
    [
        ("stuff171", VALUES, "ids have no class among 0 to 170 and 255: 181 in 000000000139"),
        ("object", [[0, 80, 170, 255]] * 2, "1 ids have no class among 0 to 80 and 255: 170"),
        ("object", [[0, 79, 255, 255]] * 2, "1 label files have ignored pixels (255)"),
    ],
)
def test_check_finds_labels_of_another_coding(mini, name: str, raw, finding: str) -> None:
    pack(mini)
    prepare_coco(mini.root, mini.downloads, workers=1)
    (right,) = check_datasets([f"ovseg_coco_{name}_val"], mini.root, workers=1)
    assert right.findings == right.findings[:1]
    assert "2 images have labels, and the benchmark has 5000" in right.findings[0]
    folder = benchmark(f"ovseg_coco_{name}_val").label_folder
    mini.unpack({f"{folder}/{NAMES[0]}.png": mini.png(raw)})
    (wrong,) = check_datasets([f"ovseg_coco_{name}_val"], mini.root, workers=1)
    assert finding in wrong.findings[1]


def test_prepared_coco_evaluates_through_papers_configs(mini, evaluate_prepared) -> None:
    pack(mini)
    prepare_coco(mini.root, mini.downloads, workers=1)
    for name in ("ovseg_coco_stuff171_val", "ovseg_coco_object_val"):
        results = evaluate_prepared(name)
        assert results["images"] == 2
        assert 0 <= results["mIoU"] <= 100
