"""Images with captions in detectron2's catalogs: a file of JSON lines for each set."""

import logging
import os
from pathlib import Path
from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from ...json_files import (
    LeftOut,
    check_name,
    check_text,
    describe_problem,
    printable,
    read_json_lines,
    shorten,
)
from .benchmarks import datasets_root

__all__ = ["CAPTION_SETS", "caption_dicts", "register_captions"]

_logger = logging.getLogger(__name__)

# Name -> file below $DETECTRON2_DATASETS, and evaluator type.
CAPTION_SETS: dict[str, tuple[str, str]] = {
    "ovseg_yfcc15m_train": ("yfcc15m/captions.jsonl", "none"),
    "ovseg_coco_captions_test": ("coco/captions_karpathy_test.jsonl", "retrieval"),
    "ovseg_coco_captions_val": ("coco/captions_karpathy_val.jsonl", "retrieval"),
    "ovseg_coco_captions_train": ("coco/captions_karpathy_train.jsonl", "none"),
    "ovseg_flickr30k_test": ("flickr30k/captions_test.jsonl", "retrieval"),
    "ovseg_flickr30k_val": ("flickr30k/captions_val.jsonl", "retrieval"),
    "ovseg_flickr30k_train": ("flickr30k/captions_train.jsonl", "none"),
}


def caption_dicts(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """List the images of a file; broken lines are left out with a warning.

    Args:
        path: a text file with ``{"file_name": "images/1.jpg", "captions": ["a dog", ...]}`` in
            each line; names of images are relative to the file's folder. All lines are held in
            memory, about 1 GB for two million.

    Returns:
        Dicts with ``file_name``, ``image_id`` (the number of the line, from 1) and ``captions``.

    Raises:
        ValueError: the file cannot be opened, or no line can be used.
    """
    path = Path(path)
    dicts: list[dict[str, Any]] = []
    left_out = LeftOut()
    try:
        for number, entry in read_json_lines(path, left_out):
            try:
                name, captions = _read_entry(entry)
            except ValueError as error:
                left_out.add(number, str(error))
                continue
            name = os.path.join(path.parent, name)
            dicts.append({"file_name": name, "image_id": number, "captions": captions})
    except OSError as error:
        raise ValueError(
            f"cannot read captions from {printable(path)}: {describe_problem(error)}; give a file "
            "of lines, see datasets/README.md"
        ) from error
    if left_out.count:
        _logger.warning("%s: %s", printable(path), left_out)
    if not dicts:
        first = f" ({left_out.reasons[0]})" if left_out.count else " (it is empty)"
        raise ValueError(
            f"{printable(path)} holds no image with captions; write "
            '{"file_name": "images/1.jpg", "captions": ["a dog"]} or similar, one a line'
            f"{first}"
        )
    return dicts


def _read_entry(entry: dict[str, Any]) -> tuple[str, list[str]]:
    name, captions = check_name(entry.get("file_name"), "file_name"), entry.get("captions")
    if not isinstance(captions, list) or not captions:
        raise ValueError(f"has the captions {shorten(captions)}, which are no list of texts")
    return name, [check_text(caption, "caption", blank=True) for caption in captions]


def _set_dicts(name: str) -> list[dict[str, Any]]:
    path = datasets_root() / CAPTION_SETS[name][0]
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {name!r}: there is no {path}; datasets/README.md names the command that "
            f"makes it, or its lines; or set DETECTRON2_DATASETS (now {str(datasets_root())!r})"
        )
    return caption_dicts(path)


def register_captions() -> None:
    """Register the names of `CAPTION_SETS`; a file is read when its dataset is used."""
    for name, (_, evaluator_type) in CAPTION_SETS.items():
        DatasetCatalog.register(name, lambda name=name: _set_dicts(name))
        MetadataCatalog.get(name).set(evaluator_type=evaluator_type)
