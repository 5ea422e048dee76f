"""VOC-20 and VOC-21 from miniatures of their archives."""

import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from ovseg_d2.prepare.datasets import check_datasets, prepare_voc, voc
from ovseg_d2.prepare.datasets.owners import datasets_of

VAL, AUGMENTED = ["2007_000033", "2007_000042"], ["2008_000008", "2011_003255"]
LABELS = np.array([[0, 0, 1, 255, 20, 15]] * 4)
HOME = "VOCdevkit/VOC2012"
OUT = f"{HOME}/annotations_detectron2"


def devkit(mini) -> dict[str, bytes]:
    """Files of VOCtrainval_11-May-2012.tar."""
    files = {f"{HOME}/JPEGImages/{name}.jpg": mini.jpg() for name in [*VAL, *AUGMENTED, "unused"]}
    files[f"{HOME}/ImageSets/Segmentation/val.txt"] = "".join(f"{n}\n" for n in VAL).encode()
    files[f"{HOME}/ImageSets/Segmentation/train.txt"] = b"2008_000008\n"
    files[f"{HOME}/ImageSets/Main/person_trainval.txt"] = b"2007_000033  1\n2007_000042 -1\n"
    for name in VAL:
        files[f"{HOME}/SegmentationClass/{name}.png"] = mini.png(LABELS, palette=True)
    return files


def sbd_mat(labels: np.ndarray) -> bytes:
    """A file of SBD's folder cls, with the struct that its authors write."""
    stream = io.BytesIO()
    struct = {"Segmentation": labels.astype(np.uint8), "CategoriesPresent": np.array([[1]])}
    scipy.io.savemat(stream, {"GTcls": struct}, do_compression=True)
    return stream.getvalue()


def augmented(mini) -> dict[str, bytes]:
    """Files of SegmentationClassAug.zip, with what macOS adds."""
    names = [*VAL, *AUGMENTED]
    files = {f"SegmentationClassAug/{name}.png": mini.png(LABELS) for name in names}
    return {**files, "__MACOSX/SegmentationClassAug/._2007_000033.png": b"\0\5\26\7"}


def pack(mini) -> None:
    mini.pack("VOCtrainval_11-May-2012.tar", devkit(mini))
    mini.pack("SegmentationClassAug.zip", augmented(mini))


@pytest.mark.parametrize("workers", [1, 2])
def test_prepare_voc_maps_palette_indices_from_the_archives(mini, workers: int) -> None:
    pack(mini)
    report = prepare_voc(mini.root, mini.downloads, splits=("val", "train"), workers=workers)
    assert report.problems == ()
    shifted = np.array([[255, 255, 0, 255, 19, 14]] * 4)
    for name in VAL:
        assert (mini.labels(f"{OUT}/val/{name}.png") == shifted).all()
        assert (mini.labels(f"{OUT}/voc21_val/{name}.png") == LABELS).all()
    for folder in ("train", "voc21_train"):
        files = sorted(os.listdir(mini.root / OUT / folder))
        assert files == [f"{name}.png" for name in AUGMENTED]
    assert (mini.labels(f"{OUT}/voc21_train/{AUGMENTED[0]}.png") == LABELS).all()
    for result in check_datasets(datasets_of("voc"), mini.root, workers=1):
        (finding,) = result.findings
        assert finding.startswith("2 images have labels, and the benchmark has 1")
    images = sorted(os.listdir(mini.root / HOME / "JPEGImages"))
    assert images == [f"{name}.jpg" for name in [*VAL, *AUGMENTED]]


def test_prepare_voc_takes_what_is_unpacked_already(mini) -> None:
    mini.unpack(devkit(mini))
    mini.unpack(augmented(mini), HOME)
    report = prepare_voc(mini.root)
    assert report.problems == ()
    assert sorted(os.listdir(mini.root / OUT / "val")) == [f"{name}.png" for name in VAL]


def test_prepare_voc_val_without_the_augmented_labels_takes_vocs_own(mini) -> None:
    mini.pack("VOCtrainval_11-May-2012.tar", devkit(mini))
    assert prepare_voc(mini.root, mini.downloads).problems == ()
    assert mini.labels(f"{OUT}/voc21_val/{VAL[0]}.png")[0, 4] == 20
    mini.unpack({f"SegmentationClass/{AUGMENTED[0]}.png": mini.png(LABELS)}, HOME)
    with pytest.raises(FileNotFoundError, match=r"no benchmark\.tgz .* download"):
        prepare_voc(mini.root, mini.downloads, splits=["train"])


def labels_of_20(mini, split: str) -> dict[str, int]:
    """For each image of a split, the label where the owners' own have 20."""
    folder = mini.root / OUT / split
    return {
        path.stem: mini.labels(f"{OUT}/{split}/{path.name}")[0, 4]
        for path in sorted(folder.iterdir())
    }


@pytest.mark.parametrize("unpacked", [True, False])
def test_prepare_voc_train_from_sbd_as_mmsegmentation_does(mini, unpacked: bool) -> None:
    files = devkit(mini)
    files[f"{HOME}/SegmentationClass/{AUGMENTED[0]}.png"] = mini.png(LABELS, palette=True)
    mini.pack("VOCtrainval_11-May-2012.tar", files)
    # SBD has labels of its own for images of val and train.
    other = np.where(LABELS == 20, 7, LABELS)
    names = [VAL[0], *AUGMENTED]
    if unpacked:  # by MMSegmentation, as images
        labels = {f"SegmentationClassAug/{name}.png": mini.png(other) for name in names}
        mini.unpack(labels, HOME)
    else:
        labels = {f"benchmark_RELEASE/dataset/cls/{name}.mat": sbd_mat(other) for name in names}
        mini.pack("benchmark.tgz", labels)
    assert prepare_voc(mini.root, mini.downloads, splits=("val", "train")).problems == ()
    assert labels_of_20(mini, "val") == {VAL[0]: 19, VAL[1]: 19}
    assert labels_of_20(mini, "train") == {AUGMENTED[0]: 19, AUGMENTED[1]: 6}


@pytest.mark.parametrize(
    "content", [b"no mat", sbd_mat(np.zeros((1, 2, 3))), sbd_mat(np.full((2, 2), 21))]
)
def test_prepare_voc_skips_broken_labels_of_sbd(mini, content: bytes) -> None:
    files = devkit(mini)
    files[f"{HOME}/SegmentationClass/{AUGMENTED[0]}.png"] = mini.png(LABELS)
    mini.pack("VOCtrainval_11-May-2012.tar", files)
    mini.pack("benchmark.tgz", {f"benchmark_RELEASE/dataset/cls/{AUGMENTED[1]}.mat": content})
    problems = prepare_voc(mini.root, mini.downloads, splits=["train"]).problems
    assert {AUGMENTED[1] in problem for problem in problems} == {True}
    assert list(labels_of_20(mini, "train")) == AUGMENTED[:1]


def test_prepare_voc_needs_no_lists_of_classes(mini) -> None:
    files = {name: content for name, content in devkit(mini).items() if "/Main/" not in name}
    mini.pack("VOCtrainval_11-May-2012.tar", files)
    assert prepare_voc(mini.root, mini.downloads).problems == ()


def test_prepare_voc_names_the_missing_archive_and_its_owner(mini) -> None:
    with pytest.raises(FileNotFoundError, match=r"VOCtrainval_11-May-2012\.tar .*host\.robots"):
        prepare_voc(mini.root, mini.downloads)


def test_prepare_voc_killed_goes_on_with_what_is_missing(mini) -> None:
    pack(mini)
    child = os.fork()
    if not child:
        calls = []

        def convert(table: np.ndarray, source: Path, target: Path) -> None:
            calls.append(target)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            original(table, source, target)

        try:
            original, voc._convert = voc._convert, convert
            prepare_voc(mini.root, mini.downloads, workers=1)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    first = mini.root / OUT / "val" / f"{VAL[0]}.png"
    assert os.listdir(first.parent) == [first.name]
    before = first.stat().st_mtime_ns
    report = prepare_voc(mini.root, mini.downloads)
    assert (report.made, report.problems) == (3, ())
    assert first.stat().st_mtime_ns == before
    assert prepare_voc(mini.root, mini.downloads).made == 0


def test_prepare_voc_skips_broken_labels_and_says_so(mini) -> None:
    files = augmented(mini)
    files[f"SegmentationClassAug/{VAL[0]}.png"] = mini.png([[21]])
    files[f"SegmentationClassAug/{VAL[1]}.png"] = mini.png(LABELS)[:-20]
    mini.pack("VOCtrainval_11-May-2012.tar", devkit(mini))
    mini.pack("SegmentationClassAug.zip", files)
    problems = " ".join(prepare_voc(mini.root, mini.downloads).problems)
    assert "holds the id 21, which labels of this dataset do not have" in problems
    assert f"{VAL[1]}.png' cannot be read" in problems
    assert not (mini.root / OUT / "val").exists()


def test_prepare_voc_keeps_results_until_overwrite(mini) -> None:
    pack(mini)
    mini.unpack({f"{OUT}/val/{VAL[0]}.png": b"mine"})
    assert prepare_voc(mini.root, mini.downloads).problems == ()
    assert (mini.root / OUT / "val" / f"{VAL[0]}.png").read_bytes() == b"mine"
    assert prepare_voc(mini.root, mini.downloads, overwrite=True).problems == ()
    assert mini.labels(f"{OUT}/val/{VAL[0]}.png")[0, 4] == 19


def test_prepare_voc_refuses_unknown_splits(mini) -> None:
    with pytest.raises(ValueError, match="give some of val, train"):
        prepare_voc(mini.root, splits=["test"])


def test_prepared_voc_evaluates_through_papers_configs(mini, evaluate_prepared) -> None:
    pack(mini)
    prepare_voc(mini.root, mini.downloads, workers=1)
    for name in ("ovseg_voc20_val", "ovseg_voc21_val"):
        results = evaluate_prepared(name)
        assert results["images"] == 2
        assert 0 <= results["mIoU"] <= 100
