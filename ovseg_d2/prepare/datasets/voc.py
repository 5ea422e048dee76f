"""Pascal VOC 2012 with the labels of SBD: VOC-20 and VOC-21."""

import os
from collections.abc import Collection
from functools import partial

import numpy as np

from ...data.datasets.benchmarks import list_stems
from .label_files import NO_CLASS, convert_labels
from .owners import benchmark
from .preparation import Preparation, PreparationReport, check_splits, read_names

__all__ = ["prepare_voc", "unpack_voc_lists", "voc_table"]

_ARCHIVE, _LABELS = "VOCtrainval_11-May-2012.tar", "SegmentationClassAug.zip"
_HOME, _AUGMENTED = "VOCdevkit/VOC2012", "SegmentationClassAug"
_NUM_CLASSES, _IGNORED = 20, 255
_NUM_LABELS = 12031  # of SegmentationClassAug.zip: 1449 of val, and 10582


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

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of VOCtrainval_11-May-2012.tar and SegmentationClassAug.zip; None takes
            `root`. Neither is needed if it is unpacked below `root`.
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
    lists = f"{_HOME}/ImageSets/Segmentation"
    val = read_names(job.unpack(_ARCHIVE, lists, lists, ".txt", names=["val"]) / "val.txt")
    names = {"val": val}
    if "train" in splits:
        source = job.unpack(_LABELS, _AUGMENTED, f"{_HOME}/{_AUGMENTED}", ".png", count=_NUM_LABELS)
        names["train"] = sorted(list_stems(source, ".png") - set(val))
    elif job.find(_LABELS) or (job.root / _HOME / _AUGMENTED).is_dir():
        source = job.unpack(_LABELS, _AUGMENTED, f"{_HOME}/{_AUGMENTED}", ".png", names=val)
    else:
        folder = f"{_HOME}/SegmentationClass"
        source = job.unpack(_ARCHIVE, folder, folder, ".png", names=val)
    datasets = {f"ovseg_{name}_{split}": split for split in splits for name in ("voc20", "voc21")}
    images = f"{_HOME}/JPEGImages"
    for split in splits:
        job.unpack(_ARCHIVE, images, images, ".jpg", names=names[split])
    for dataset, split in datasets.items():
        table = voc_table(_NUM_CLASSES, background="voc21" in dataset)
        target = job.root / benchmark(dataset).label_folder
        tasks = [
            (source / f"{name}.png", target / f"{name}.png")
            for name in names[split]
            if (source / f"{name}.png").is_file()
        ]
        job.convert(partial(convert_labels, table), tasks, dataset)
    return job.report()


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
