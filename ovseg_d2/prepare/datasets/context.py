"""Pascal Context: 59 and 60 classes from PASCAL in Detail, 459 from its owners' MATLAB files."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.readers import read_labels
from ...json_files import printable, shorten
from ...masks.rle import decode_rle
from .archives import is_safe_name
from .label_files import map_ids, write_labels
from .mat_files import read_context_mat
from .name_lists import read_names, read_owner_json
from .owners import benchmark
from .preparation import Preparation, PreparationReport, check_splits
from .voc import unpack_voc_lists, voc_table

__all__ = ["prepare_context", "prepare_context459"]

_HOME = "VOCdevkit/VOC2010"
_IMAGES, _MERGED, _MAT = "VOCtrainval_03-May-2010.tar", "trainval_merged.json", "trainval.tar.gz"
_MOST_BYTES = 2**31  # of trainval_merged.json
_MOST_SIDE = 2**14  # pixels; images of VOC have 500
_NUM_CLASSES, _NUM_MAT_CLASSES = 59, 459
_IGNORED_16 = 65535

# Category ids of trainval_merged.json in the order of the labels 0 to 59, which is alphabetical;
# 0 is the background. They are the ids of Context-459.
_CATEGORIES = (
    0, 2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105,
    113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308,
    324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454,
    458,
)  # fmt: skip
_LABEL_OF = {category: label for label, category in enumerate(_CATEGORIES)}

# (H, W), and the categories and run lengths of the segments, later ones in front.
_Segments = tuple[tuple[int, int], list[tuple[int, Any]]]


def prepare_context(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_context59_*`` and ``ovseg_context60_*``.

    trainval_merged.json has run lengths of segments; where they overlap, the last one counts, as in
    the detail API. The label of Context-60 is the position of the category's id among the 60 sorted
    ids. For Context-59 the background, 0, becomes 255, and k becomes k - 1. The splits are the
    file's phases.

    Arguments and errors are those of `prepare_voc`, with VOCtrainval_03-May-2010.tar and
    trainval_merged.json.
    """
    check_splits(splits)
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    segments = _read_segments(job.need(_MERGED, f"{_HOME}/{_MERGED}"))
    for split in splits:
        _unpack_images(job, segments[split])
    for split in splits:
        with_background = job.root / benchmark(f"ovseg_context60_{split}").label_folder
        tasks: list[tuple[Any, Path]] = [
            (entry, with_background / f"{name}.png") for name, entry in segments[split].items()
        ]
        job.convert(_draw_segments, tasks, f"ovseg_context60_{split}")
        folder = job.root / benchmark(f"ovseg_context59_{split}").label_folder
        tasks = [(path, folder / path.name) for _, path in tasks if path.is_file()]
        job.convert(_drop_background, tasks, f"ovseg_context59_{split}")
    return job.report()


def prepare_context459(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("val",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and labels of ``ovseg_context459_val`` and ``ovseg_context459_train``.

    The LabelMap of a MATLAB file has the ids 1 to 459, which become 0 to 458; 0 becomes 65535. The
    splits are the phases of trainval_merged.json. For val, the list pascalcontext_val.txt that
    OVSeg and CAT-Seg use takes its place.

    Arguments and errors are those of `prepare_voc`, with VOCtrainval_03-May-2010.tar,
    trainval.tar.gz and trainval_merged.json.
    """
    check_splits(splits)
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    val_list = job.find("pascalcontext_val.txt", f"{_HOME}/pascalcontext_val.txt")
    if val_list is not None and set(splits) == {"val"}:
        names: Mapping[str, Collection[str]] = {"val": read_names(val_list)}
    else:
        names = _read_segments(job.need(_MERGED, f"{_HOME}/{_MERGED}"))
    every = sorted({name for split in splits for name in names[split]})
    source = job.unpack(_MAT, "trainval", f"{_HOME}/trainval", ".mat", names=every)
    for split in splits:
        _unpack_images(job, names[split])
        folder = job.root / benchmark(f"ovseg_context459_{split}").label_folder
        tasks = [
            (source / f"{name}.mat", folder / f"{name}.tif")
            for name in names[split]
            if (source / f"{name}.mat").is_file()
        ]
        job.convert(_convert_mat, tasks, f"ovseg_context459_{split}")
    return job.report()


def _unpack_images(job: Preparation, names: Collection[str]) -> None:
    unpack_voc_lists(job, _IMAGES, _HOME)
    images = f"{_HOME}/JPEGImages"
    job.unpack(_IMAGES, images, images, ".jpg", names=names)


def _read_segments(path: Path) -> dict[str, dict[str, _Segments]]:
    """Segments of all images by split and name, in the order of the file.

    Raises:
        ValueError: the file cannot be read, or is not trainval_merged.json.
    """
    content = read_owner_json(path, max_bytes=_MOST_BYTES)
    splits: dict[str, dict[str, _Segments]] = {"train": {}, "val": {}}
    by_id: dict[Any, _Segments] = {}
    try:
        for image in content["images"]:
            size = image["height"], image["width"]
            if not all(type(side) is int and 0 < side <= _MOST_SIDE for side in size):
                raise ValueError(f"an image has the size {shorten(size)}")
            segments: _Segments = (size, [])
            by_id[image["image_id"]] = segments
            if image["phase"] in splits:
                name = image["file_name"]
                if not is_safe_name(name) or "/" in name:
                    raise ValueError(f"an image has the file_name {shorten(name)}")
                splits[image["phase"]][name.removesuffix(".jpg")] = segments
        for entry in content["annos_segmentation"]:
            if entry["image_id"] in by_id:
                by_id[entry["image_id"]][1].append((entry["category_id"], entry["segmentation"]))
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{printable(path)} is not {_MERGED}: it lacks images with file_name, phase, height "
            f"and width, or annos_segmentation with category_id and segmentation ({error}); "
            "download it again"
        ) from error
    return splits


def _draw_segments(entry: _Segments, target: Path) -> None:
    size, segments = entry
    labels = np.zeros(size, np.uint8)
    for category, rle in segments:
        if not isinstance(category, int) or category not in _LABEL_OF:
            raise ValueError(
                f"{target.stem}: its category {category!r} is none of the 59; take {_MERGED}, "
                "whose categories are merged"
            )
        try:
            labels[decode_rle(rle, size)] = _LABEL_OF[category]
        except ValueError as error:
            raise ValueError(
                f"{target.stem}: the mask {error}; download {_MERGED} again"
            ) from error
    write_labels(target, labels)


def _drop_background(source: Path, target: Path) -> None:
    table = voc_table(_NUM_CLASSES, background=False)
    write_labels(target, map_ids(read_labels(source), table, source).astype(np.uint8))


def _convert_mat(source: Path, target: Path) -> None:
    table = np.arange(-1, _NUM_MAT_CLASSES)
    table[0] = _IGNORED_16
    write_labels(target, map_ids(read_context_mat(source), table, source).astype(np.uint16))
