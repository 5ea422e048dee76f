"""Captions of pictures in COCO's format, read as they are."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CaptionFile", "CaptionFileError", "read_coco_captions"]


class CaptionFileError(ValueError):
    """Captions cannot be read: one sentence with the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class CaptionFile:
    """What a file of captions holds.

    Attributes:
        captions: last part of a picture's path -> its captions in the file's order, at least one.
        num_broken: entries that are left out: captions without a text, or without a picture.
    """

    captions: dict[str, tuple[str, ...]]
    num_broken: int


def read_coco_captions(path: str | os.PathLike[str]) -> CaptionFile:
    """Read ``captions_train2017.json`` and the like.

    Args:
        path: JSON of ``{"images": [{"id", "file_name"}], "annotations": [{"image_id",
            "caption"}]}``; other entries do not count.

    Raises:
        CaptionFileError: the file is missing or of another format, holds no caption, or names two
            pictures alike.
    """
    content = _read(path)
    names: dict[Any, str] = {}
    for image in content["images"]:
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            names[_key(image.get("id"))] = Path(image["file_name"]).name
    if len(set(names.values())) < len(names):
        twice = sorted(name for name in set(names.values()) if list(names.values()).count(name) > 1)
        raise _error(path, f"two of its pictures are called {twice[0]!r}", "give each its own name")
    found: dict[str, list[str]] = {}
    num_broken = 0
    for entry in content["annotations"]:
        caption = entry.get("caption") if isinstance(entry, dict) else None
        name = names.get(_key(entry.get("image_id"))) if isinstance(entry, dict) else None
        if isinstance(caption, str) and caption.strip() and name:
            found.setdefault(name, []).append(" ".join(caption.split()))
        else:
            num_broken += 1
    if not found:
        kind = "none of its annotations has a 'caption' of one of its pictures"
        raise _error(path, kind, "give COCO's captions_*.json, not its instances or panoptic ones")
    return CaptionFile({name: tuple(texts) for name, texts in found.items()}, num_broken)


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise _error(path, "there is no such file", "correct the path") from error
    except OSError as error:
        problem = f"the system says {error.strerror!r}"
        raise _error(path, problem, "check the path and its permissions") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        problem = f"it is cut off or no JSON ({error})"
        raise _error(path, problem, "get COCO's captions_*.json again") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            problem = f"it has no list {key!r}"
            raise _error(path, problem, "give a file of COCO's format, such as captions_*.json")
    return content


def _key(number: object) -> object:
    """A picture's number as it can be looked up: a list or an object never is one."""
    return number if isinstance(number, int | str) else None


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> CaptionFileError:
    return CaptionFileError(f"cannot read captions from {os.fspath(path)}: {problem}; {remedy}")
