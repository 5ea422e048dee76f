"""Pascal VOC 2012 with the labels of SBD: VOC-20 and VOC-21."""

import os
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from ...data.datasets.benchmarks import list_stems
from ...data.readers import read_labels
from .label_files import NO_CLASS, map_ids, write_labels
from .mat_files import read_sbd_mat
from .name_lists import read_names
from .owners import benchmark
from .preparation import Preparation, PreparationReport, check_splits

__all__ = ["prepare_voc", "unpack_voc_lists", "voc_table"]

_ARCHIVE, _MERGED = "VOCtrainval_11-May-2012.tar", "SegmentationClassAug.zip"
_AUGMENTED = "SegmentationClassAug"
_SBD, _SBD_INNER = "benchmark.tgz", "benchmark_RELEASE/dataset/cls"
_HOME, _SBD_HOME = "VOCdevkit/VOC2012", "VOCdevkit/VOCaug/dataset/cls"
_LISTS, _OWN = f"{_HOME}/ImageSets/Segmentation", f"{_HOME}/SegmentationClass"
_NUM_CLASSES, _IGNORED = 20, 255
_NUM_MERGED = 12031  # of SegmentationClassAug.zip: 1449 of val, and 10582
_NUM_SBD = 11355


def prepare_voc(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_voc20_val``, ``ovseg_voc21_val`` and their training sets.

    Labels are the palette indices of SegmentationClassAug. VOC-21 has them unchanged; for VOC-20
    the background, 0, becomes 255, and k becomes k - 1. The training set is all labelled images
    that val.txt does not list.

    Without SegmentationClassAug, labels are those of VOC's SegmentationClass, and those of SBD for
    images that VOC's lists do not have, as in MMSegmentation.

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of VOCtrainval_11-May-2012.tar, and of SegmentationClassAug.zip or, for
            "train", SBD's benchmark.tgz; None takes `root`. None is needed if it is unpacked below
            `root` (SBD as VOCdevkit/VOCaug/dataset).
        splits: of "val" and "train".
        workers: number of processes; None takes one for each CPU.
        overwrite: whether files that exist are written again.

    Raises:
        ValueError: an unknown split, a damaged or unsafe archive, or a broken list of images.
        OSError: a file is missing, or cannot be written.
    """
    check_splits(splits)
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    unpack_voc_lists(job, _ARCHIVE, _HOME)
    val = read_names(job.unpack(_ARCHIVE, _LISTS, _LISTS, ".txt", names=["val"]) / "val.txt")
    sources = _label_files(job, val, splits)
    images = f"{_HOME}/JPEGImages"
    for split in splits:
        job.unpack(_ARCHIVE, images, images, ".jpg", names=sources[split])
        for dataset in (benchmark(f"ovseg_{name}_{split}") for name in ("voc20", "voc21")):
            table = voc_table(_NUM_CLASSES, background=dataset.word_list == "voc21")
            target = job.root / dataset.label_folder
            tasks = [
                (source, target / f"{name}.png")
                for name, source in sources[split].items()
                if source.is_file()
            ]
            job.convert(partial(_convert, table), tasks, dataset.name)
    return job.report()


def _label_files(
    job: Preparation, val: list[str], splits: Collection[str]
) -> dict[str, dict[str, Path]]:
    """The owners' label file of each image, for each split.

    A folder SegmentationClassAug without the labels of val is MMSegmentation's, which holds SBD's
    labels alone.
    """
    merged = job.root / _HOME / _AUGMENTED
    if job.find(_MERGED) or all((merged / f"{name}.png").is_file() for name in val):
        few = {"count": _NUM_MERGED} if "train" in splits else {"names": val}
        job.unpack(_MERGED, _AUGMENTED, f"{_HOME}/{_AUGMENTED}", ".png", **few)
        names = {"val": val, "train": sorted(list_stems(merged, ".png") - set(val))}
        return {split: {name: merged / f"{name}.png" for name in names[split]} for split in splits}
    names = {"val": val}
    if "train" in splits:
        folder = job.unpack(_ARCHIVE, _LISTS, _LISTS, ".txt", names=["train"])
        names["train"] = read_names(folder / "train.txt")
    every = [name for split in splits for name in names[split]]
    own = job.unpack(_ARCHIVE, _OWN, _OWN, ".png", names=every)
    sources = {split: {name: own / f"{name}.png" for name in names[split]} for split in splits}
    if "train" in splits:
        folder, suffix = merged, ".png"
        if not merged.is_dir():
            folder, suffix = job.unpack(_SBD, _SBD_INNER, _SBD_HOME, ".mat", count=_NUM_SBD), ".mat"
        others = sorted(list_stems(folder, suffix) - set(val) - set(names["train"]))
        sources["train"].update((name, folder / f"{name}{suffix}") for name in others)
    return sources


def _convert(table: np.ndarray, source: Path, target: Path) -> None:
    values = read_sbd_mat(source) if source.suffix == ".mat" else read_labels(source)
    write_labels(target, map_ids(values, table, source).astype(np.uint8))


def unpack_voc_lists(job: Preparation, archive: str, home: str) -> None:
    """Unpack the lists of the images that show each VOC class, by which --check knows orders.

    Args:
        job: the preparation.
        archive: of VOC 2010 or VOC 2012.
        home: folder of its year, below the root and in the archive.
    """
    lists = f"{home}/ImageSets/Main"
    job.unpack(archive, lists, lists, "_trainval.txt", count=_NUM_CLASSES, required=False)


def voc_table(num_classes: int, *, background: bool) -> np.ndarray:
    """New ids of labels where 0 is the background and 255 is ignored.

    Args:
        num_classes: without the background.
        background: whether the background is class 0; else it is ignored, and k becomes k - 1.
    """
    table = np.full(256, NO_CLASS)
    table[: num_classes + 1] = np.arange(num_classes + 1) - (not background)
    table[[0, _IGNORED]] = 0 if background else _IGNORED, _IGNORED
    return table
