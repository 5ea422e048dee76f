"""ADE20K: the 150 classes of the scene parsing challenge, and 847 classes of the full dataset."""

import csv
import os
from collections.abc import Collection
from functools import cache, partial
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ...data.images import read_image
from ...data.readers import read_labels
from ...files import write_atomically
from ...json_files import printable
from .label_files import convert_labels, write_labels
from .owners import benchmark
from .preparation import Preparation, PreparationReport, check_splits, tasks_for

__all__ = ["ade150_table", "ade847_labels", "prepare_ade150", "prepare_ade847"]

_FOLDERS = {"val": "validation", "train": "training"}
_CHALLENGE, _CHALLENGE_HOME = "ADEChallengeData2016.zip", "ADEChallengeData2016"
_FULL, _FULL_HOME = "ADE20K_2021_17_01.zip", "ADE20K_2021_17_01"
_IGNORED = 65535
_SHORT_SIDE = 512  # pixels; larger images of ADE-847 are shrunk to it


def prepare_ade150(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_ade150_val`` and ``ovseg_ade150_train``.

    Labels are those of the challenge less 1; 0, "other", becomes 255.

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of ADEChallengeData2016.zip; None takes `root`. It is not needed if it is
            unpacked below `root`.
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
        dataset = benchmark(f"ovseg_ade150_{split}")
        labels = f"{_CHALLENGE_HOME}/annotations/{_FOLDERS[split]}"
        count = dataset.num_images
        job.unpack(_CHALLENGE, dataset.image_folder, dataset.image_folder, ".jpg", count=count)
        source = job.unpack(_CHALLENGE, labels, labels, ".png", count=count)
        tasks = tasks_for(source, ".png", job.root / dataset.label_folder, ".png")
        job.convert(partial(convert_labels, ade150_table()), tasks, dataset.name)
    return job.report()


def prepare_ade847(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_ade847_val`` and ``ovseg_ade847_train``.

    Labels are those of `ade847_labels`. Images and labels whose short side has more than 512 pixels
    are shrunk to 512. All images are written again as JPEG, with Pillow's usual quality, as those
    of MaskFormer, OVSeg and CAT-Seg are.

    Arguments and errors are those of `prepare_ade150`, for the archive ADE20K_2021_17_01.zip.
    """
    check_splits(splits)
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    for split in splits:
        dataset = benchmark(f"ovseg_ade847_{split}")
        inner = f"{_FULL_HOME}/images/ADE/{_FOLDERS[split]}"
        count = dataset.num_images
        source = job.unpack(_FULL, inner, inner, ".jpg", count=count)
        job.unpack(_FULL, inner, inner, "_seg.png", count=count)
        images, labels = job.root / dataset.image_folder, job.root / dataset.label_folder
        tasks = tasks_for(source, ".jpg", images, ".jpg", flat=True)
        job.convert(_convert_image, tasks, f"{dataset.name}, images")
        tasks = tasks_for(source, "_seg.png", labels, ".tif", flat=True)
        job.convert(_convert_colors, tasks, dataset.name)
    return job.report()


def ade150_table() -> np.ndarray:
    """(151,) class id of each value of the challenge's label files.

    Source: MaskFormer, `prepare_ade20k_sem_seg` line 14.
    """
    return np.array([255, *range(150)])


def ade847_labels(colors: np.ndarray) -> np.ndarray:
    """Map the colours of a file ``*_seg.png`` to the classes of ADE-847.

    Source: MaskFormer, `prepare_ade20k_full_sem_seg` lines 932-941, 987-990.

    Args:
        colors: (H, W, 3) uint8 RGB; R // 10 * 256 + G is the number of a pixel's object.

    Returns:
        (H, W) uint16, 0 to 846; 65535 for all other objects.
    """
    return _ade847_table()[colors[..., 0].astype(np.int64) // 10 * 256 + colors[..., 1]]


@cache
def _ade847_table() -> np.ndarray:
    text = (resources.files(__package__) / "ade847_numbers.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    table = np.full(26 * 256, _IGNORED, np.uint16)
    for row in csv.DictReader(lines, delimiter="\t"):
        table[int(row["number"])] = int(row["class_id"])
    return table


def _shrink(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short <= _SHORT_SIDE:
        return pixels
    size = [round(side / short * _SHORT_SIDE) for side in (width, height)]
    return cv2.resize(pixels, size, interpolation=interpolation)


def _convert_image(source: Path, target: Path) -> None:
    image = Image.fromarray(_shrink(read_image(source), cv2.INTER_LINEAR))
    with write_atomically(target) as file:
        image.save(file, format="JPEG")


def _convert_colors(source: Path, target: Path) -> None:
    colors = read_labels(source, np.uint8, colors=True)
    if colors.ndim != 3:
        raise ValueError(
            f"{printable(source)} has one channel, and the classes are in the colours of "
            f"*_seg.png; unpack it from {_FULL} again"
        )
    write_labels(target, _shrink(ade847_labels(colors), cv2.INTER_NEAREST))
