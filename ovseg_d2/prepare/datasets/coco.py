"""COCO's images with the labels of COCO-Stuff: COCO-Stuff-171 and COCO-Object."""

import os
from collections.abc import Collection
from functools import partial

import numpy as np

from .label_files import NO_CLASS, convert_labels
from .owners import benchmark
from .preparation import Preparation, PreparationReport, check_splits, tasks_for

__all__ = ["coco_object_table", "coco_stuff_table", "prepare_coco"]

_LABELS = "stuffthingmaps_trainval2017.zip"
# Values of the label files, COCO's ids less 1, from 0 to 181. Things come before 91.
_NUM_VALUES, _FIRST_STUFF, _UNLABELLED = 182, 91, 255
# Categories that COCO lists and does not use. No file has them; OVSeg and CAT-Seg ignore them.
_UNUSED = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)


def prepare_coco(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_coco_stuff171_val``, ``ovseg_coco_object_val``, ``_train``.

    Both are made from COCO-Stuff's label files. COCO-Stuff-171 lacks the numbers of unused
    categories, so that 0 to 170 remain; 255 stays. For COCO-Object, as of GroupViT, SCLIP and
    NACLIP, things become 1 to 80 and all other pixels background, unlabelled ones too. COCO-Stuff
    decides which of two overlapping objects has a pixel: COCO's instances are not read.

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of val2017.zip, train2017.zip and stuffthingmaps_trainval2017.zip; None
            takes `root`. What is unpacked in ``coco/val2017``, ``coco/stuffthingmaps/val2017`` and
            so on is not needed.
        splits: of "val" and "train".
        workers: number of processes; None takes one for each CPU.
        overwrite: whether files that exist are written again.

    Raises:
        ValueError: an unknown split, or a damaged or unsafe archive.
        OSError: a file is missing, or cannot be written.
    """
    check_splits(splits)
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    tables = {"ovseg_coco_stuff171": coco_stuff_table(), "ovseg_coco_object": coco_object_table()}
    for split in splits:
        year = f"{split}2017"
        count = benchmark(f"ovseg_coco_stuff171_{split}").num_images
        job.unpack(f"{year}.zip", year, f"coco/{year}", ".jpg", count=count)
        source = job.unpack(_LABELS, year, f"coco/stuffthingmaps/{year}", ".png", count=count)
        for name, table in tables.items():
            dataset = benchmark(f"{name}_{split}")
            tasks = tasks_for(source, ".png", job.root / dataset.label_folder, ".png")
            job.convert(partial(convert_labels, table), tasks, dataset.name)
    return job.report()


def coco_stuff_table() -> np.ndarray:
    """(256,) class id of each value of COCO-Stuff's label files.

    Source: CAT-Seg, `prepare_coco_stuff` ("id", "trainId"); OVSeg's and PixelCLIP's are
    equal.
    """
    used = np.setdiff1d(np.arange(_NUM_VALUES), _UNUSED)
    table = np.full(256, NO_CLASS)
    table[[*_UNUSED, _UNLABELLED]] = _UNLABELLED
    table[used] = np.arange(len(used))
    return table


def coco_object_table() -> np.ndarray:
    """(256,) class id of each value of COCO-Stuff's label files, background 0.

    Source: GroupViT, convert_dataset/convert_coco_object.py lines 22-204; SCLIP's and NACLIP's are
    equal.
    """
    things = np.setdiff1d(np.arange(_FIRST_STUFF), _UNUSED)
    table = np.full(256, NO_CLASS)
    table[[*range(_NUM_VALUES), _UNLABELLED]] = 0
    table[things] = np.arange(1, len(things) + 1)
    return table
