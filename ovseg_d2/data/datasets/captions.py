"""Pictures with captions in detectron2's catalogs: a file of lines for each set."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from .benchmarks import datasets_root

__all__ = ["CAPTION_SETS", "caption_dicts", "register_captions"]

_logger = logging.getLogger(__name__)
_SHOWN = 3

# Name -> file below $DETECTRON2_DATASETS, and how the set is evaluated.
CAPTION_SETS: dict[str, tuple[str, str]] = {
    "ovseg_yfcc15m_train": ("yfcc15m/captions.jsonl", "none"),
    "ovseg_coco_captions_test": ("coco/captions_karpathy_test.jsonl", "retrieval"),
    "ovseg_flickr30k_test": ("flickr30k/captions_test.jsonl", "retrieval"),
}


def caption_dicts(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """List the pictures of a file; broken lines are left out with a warning.

    Args:
        path: a text file with ``{"file_name": "images/1.jpg", "captions": ["a dog", ...]}`` in
            each line; names of pictures count from the file's own folder. All lines are held in
            memory, about a GB for each two million.

    Returns:
        Dicts with ``file_name``, ``image_id`` (the number of the line, from 1) and ``captions``.

    Raises:
        ValueError: no line can be used.
    """
    path = Path(path)
    dicts: list[dict[str, Any]] = []
    broken: list[str] = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            entry = _read_line(line)
            if entry is None:
                broken.append(f"line {number}: {line.strip()[:60]!r}")
                continue
            name = os.path.join(path.parent, entry["file_name"])
            captions = entry["captions"]
            dicts.append({"file_name": name, "image_id": number, "captions": captions})
    if broken:
        shown = "; ".join(broken[:_SHOWN]) + ("; ..." if len(broken) > _SHOWN else "")
        _logger.warning("%s: %d lines are left out: %s", path, len(broken), shown)
    if not dicts:
        raise ValueError(
            f"{path} holds no picture with captions; write "
            '{"file_name": "images/1.jpg", "captions": ["a dog"]} and the like, one a line'
        )
    return dicts


def _read_line(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
        return None
    captions = entry.get("captions")
    well_formed = isinstance(captions, list) and captions
    return entry if well_formed and all(isinstance(text, str) for text in captions) else None


def _set_dicts(name: str) -> list[dict[str, Any]]:
    path = datasets_root() / CAPTION_SETS[name][0]
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {name!r}: there is no {path}; write one line for each picture there (see "
            f"datasets/README.md), or set DETECTRON2_DATASETS (now {str(datasets_root())!r})"
        )
    return caption_dicts(path)


def register_captions() -> None:
    """Register the names of `CAPTION_SETS`; nothing is looked for before one is used."""
    for name, (_, evaluator_type) in CAPTION_SETS.items():
        DatasetCatalog.register(name, lambda name=name: _set_dicts(name))
        MetadataCatalog.get(name).set(evaluator_type=evaluator_type)
