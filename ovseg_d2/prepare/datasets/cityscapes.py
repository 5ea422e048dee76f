"""Cityscapes with its 19 evaluated classes."""

import os
from collections.abc import Collection
from functools import partial

import numpy as np

from ...data.datasets.benchmarks import list_stems
from .label_files import convert_labels
from .owners import benchmark
from .preparation import Preparation, PreparationReport, check_splits, tasks_for

__all__ = ["cityscapes_table", "prepare_cityscapes"]

_IMAGES, _LABELS = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"
_SOURCE_SUFFIX = "_gtFine_labelIds.png"
_IGNORED = 255


def prepare_cityscapes(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_cityscapes_val`` and ``ovseg_cityscapes_train``.

    ``*_labelTrainIds.png`` are made from ``*_labelIds.png``; they are equal to those that
    cityscapesScripts draws. If all are there already, neither is needed.

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip; None takes
            `root`. Neither is needed if it is unpacked in ``cityscapes``.
        splits: of "val" and "train".
        workers: number of processes; None takes one for each CPU.
        overwrite: whether files that exist are written again.

    Raises:
        ValueError: an unknown split, or a damaged or unsafe archive.
        OSError: a file is missing, or cannot be written.
    """
    check_splits(splits)
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    for split in splits:
        dataset = benchmark(f"ovseg_cityscapes_{split}")
        count, images = dataset.num_images, f"leftImg8bit/{split}"
        job.unpack(_IMAGES, images, dataset.image_folder, dataset.image_suffix, count=count)
        target = job.root / dataset.label_folder
        if not overwrite and len(list_stems(target, dataset.label_suffix)) >= count:
            continue
        job.unpack(_LABELS, f"gtFine/{split}", dataset.label_folder, _SOURCE_SUFFIX, count=count)
        tasks = tasks_for(target, _SOURCE_SUFFIX, target, dataset.label_suffix)
        job.convert(partial(convert_labels, cityscapes_table()), tasks, dataset.name)
    return job.report()


def cityscapes_table() -> np.ndarray:
    """(34,) train id of each label id; 255 is ignored.

    Source: cityscapesScripts, helpers/labels.py ("id", "trainId").
    """
    table = np.full(34, _IGNORED)
    evaluated = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    table[evaluated] = np.arange(len(evaluated))
    return table
