"""Images with captions in Karpathy's splits: COCO and Flickr30k."""

import json
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ...data.datasets import CAPTION_SETS
from ...files import write_atomically
from ...json_files import check_text, printable, shorten
from .name_lists import read_owner_json
from .preparation import Preparation, PreparationReport, check_splits

__all__ = ["karpathy_entries", "prepare_coco_captions", "prepare_flickr30k"]

_KARPATHY = "caption_datasets.zip"
_MOST_BYTES = 2**29
_FLICKR_IMAGES = "flickr30k-images"
_NAME = re.compile(r"[\w-]+/\w[\w.-]*\.jpg", re.ASCII)
# Folder of images -> archive.
_IMAGES = {
    "coco": {"val2014": "val2014.zip", "train2014": "train2014.zip"},
    "flickr30k": {_FLICKR_IMAGES: "flickr30k-images.tar.gz"},
}
_REGISTERED = {"coco": "ovseg_coco_captions_{}", "flickr30k": "ovseg_flickr30k_{}"}
# The files' "split"; "restval" is the part of COCO's validation set that goes into training.
_PARTS = {"test": ("test",), "val": ("val",), "train": ("train", "restval")}


def prepare_coco_captions(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("test",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and captions of ``ovseg_coco_captions_test``, ``_val`` and ``_train``.

    The captions of an image are a line of ``coco/captions_karpathy_test.jsonl``. The images are
    those of COCO 2014, whose validation set holds the images of "test" and "val"; without its
    archives, images of COCO 2017 in ``coco/train2017`` and ``coco/val2017`` are taken.

    Args:
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        archives: folder of caption_datasets.zip, val2014.zip and, for "train", train2014.zip; None
            takes `root`. What is unpacked below ``coco`` is not needed (dataset_coco.json in
            ``coco/annotations``).
        splits: of "test", "val" and "train".
        workers: number of processes; None takes one for each CPU.
        overwrite: whether files that exist are written again.

    Raises:
        ValueError: an unknown split, or a damaged file.
        OSError: a file is missing, or cannot be written.
    """
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    return _prepare(job, "coco", "coco/annotations", splits)


def prepare_flickr30k(
    root: str | os.PathLike[str] | None = None,
    archives: str | os.PathLike[str] | None = None,
    *,
    splits: Collection[str] = ("test",),
    workers: int | None = None,
    overwrite: bool = False,
) -> PreparationReport:
    """Make images and captions of ``ovseg_flickr30k_test``, ``_val`` and ``_train``.

    The captions of an image are a line of ``flickr30k/captions_test.jsonl``.

    Arguments and errors are those of `prepare_coco_captions`, for the archives caption_datasets.zip
    and flickr30k-images.tar.gz, and for dataset_flickr30k.json in ``flickr30k``.
    """
    job = Preparation(root, archives, workers=workers, overwrite=overwrite)
    return _prepare(job, "flickr30k", "flickr30k", splits)


def karpathy_entries(content: Any, split: str) -> list[dict[str, Any]]:
    """List the images of a split with their captions.

    Args:
        content: of ``dataset_coco.json`` or ``dataset_flickr30k.json``: ``{"images": [{"filepath",
            "filename", "split", "sentences": [{"raw"}]}]}``; Flickr30k has no "filepath".
        split: "test", "val" or "train", which has the images of "restval", too.

    Returns:
        Dicts with ``file_name``, below the folder of the dataset, and ``captions``.

    Raises:
        ValueError: content of another form; the text continues the name of the file.
    """
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise ValueError("has no list 'images'; unpack it again")
    entries = []
    for number, image in enumerate(content["images"]):
        try:
            if image["split"] not in _PARTS[split]:
                continue
            name = f"{image.get('filepath', _FLICKR_IMAGES)}/{image['filename']}"
            if not _NAME.fullmatch(name):
                raise ValueError(f"has the name {shorten(name)}, which no image has")
            texts = [
                check_text(sentence["raw"], "sentence", blank=True)
                for sentence in image["sentences"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            problem = str(error) if isinstance(error, ValueError) else "has another form"
            raise ValueError(f"is damaged: image {number} {problem}; unpack it again") from error
        captions = [" ".join(text.split()) for text in texts]
        entries.append({"file_name": name, "captions": captions})
    return entries


def _prepare(
    job: Preparation, name: str, json_folder: str, splits: Collection[str]
) -> PreparationReport:
    check_splits(splits, tuple(_PARTS))
    stem = f"dataset_{name}"
    folder = job.unpack(_KARPATHY, "", json_folder, ".json", names=[stem])
    content = read_owner_json(folder / f"{stem}.json", max_bytes=_MOST_BYTES)
    for split in splits:
        try:
            entries = karpathy_entries(content, split)
        except ValueError as error:
            raise ValueError(f"{printable(folder / stem)}.json {error}") from error
        for images, archive in _IMAGES[name].items():
            if job.find(archive) is None:
                _take_2017(entries, images, job.root / name)
            names = [entry["file_name"].removesuffix(".jpg") for entry in entries]
            chosen = [image for image in names if image.startswith(f"{images}/")]
            if chosen:
                job.unpack(archive, "", name, ".jpg", names=chosen)
        file = CAPTION_SETS[_REGISTERED[name].format(split)][0]
        job.convert(_write_lines, [(entries, job.root / file)], f"captions of {name}")
    return job.report()


def _take_2017(entries: Sequence[dict[str, Any]], images: str, folder: Path) -> None:
    """Replace missing images of COCO 2014 by those of COCO 2017 that are there, which are equal."""
    for entry in entries:
        name = entry["file_name"]
        if name.startswith(f"{images}/COCO_") and not (folder / name).is_file():
            same = (f"{year}/{name.rpartition('_')[2]}" for year in ("train2017", "val2017"))
            entry["file_name"] = next((n for n in same if (folder / n).is_file()), name)


def _write_lines(entries: Sequence[dict[str, Any]], target: Path) -> None:
    with write_atomically(target, "w") as file:
        for entry in entries:
            file.write(f"{json.dumps(entry)}\n")
