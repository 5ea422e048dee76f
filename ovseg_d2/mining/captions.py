"""Reader of captions in COCO's format."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_d2.json_files import check_name, check_text, describe_problem, printable, read_json

__all__ = ["CaptionFile", "CaptionFileError", "read_coco_captions"]

_MAX_FILE = 2**32  # bytes


class CaptionFileError(ValueError):
    """A caption file cannot be read; the text names the file, the problem and the remedy."""


@dataclass(frozen=True)
class CaptionFile:
    """Content of a caption file.

    Attributes:
        captions: last part of an image's path -> its captions in the file's order, at least one.
        num_broken: number of captions left out because they have no text or no image.
    """

    captions: dict[str, tuple[str, ...]]
    num_broken: int


def read_coco_captions(path: str | os.PathLike[str]) -> CaptionFile:
    """Read a file such as ``captions_train2017.json``.

    Args:
        path: JSON of ``{"images": [{"id", "file_name"}], "annotations": [{"image_id",
            "caption"}]}``; other entries are ignored.

    Raises:
        CaptionFileError: the file is missing or of another format, holds no caption, or has two
            images of the same name.
    """
    content = _read(path)
    names: dict[int | str, str] = {}
    for image in content["images"]:
        try:
            key, name = _key(image, "id"), check_name(image.get("file_name"), "file_name")
        except ValueError:
            continue
        if Path(name).name:
            names[key] = Path(name).name
    name, count = Counter(names.values()).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise _error(path, f"two of its images are called {name!r}", "give them different names")
    captions: dict[str, list[str]] = {}
    num_broken = 0
    for entry in content["annotations"]:
        try:
            name = names[_key(entry, "image_id")]
            caption = check_text(entry.get("caption"), "caption")
        except (KeyError, ValueError):
            num_broken += 1
            continue
        captions.setdefault(name, []).append(" ".join(caption.split()))
    if not captions:
        problem = "none of its annotations has a 'caption' of one of its images"
        remedy = "give COCO's captions_*.json, not its instances or panoptic files"
        raise _error(path, problem, remedy)
    return CaptionFile({name: tuple(texts) for name, texts in captions.items()}, num_broken)


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = read_json(path, max_bytes=_MAX_FILE)
    except OSError as error:
        remedy = "check the path and its permissions"
        raise _error(path, describe_problem(error), remedy) from error
    except ValueError as error:
        problem = f"it is truncated or not JSON ({error})"
        raise _error(path, problem, "get COCO's captions_*.json again") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            problem = f"it has no list {key!r}"
            raise _error(path, problem, "give a file of COCO's format, such as captions_*.json")
    return content


def _key(entry: object, name: str) -> int | str:
    """The image id of an entry.

    Raises:
        ValueError: the entry is not an object or has no valid id.
    """
    key = entry.get(name) if isinstance(entry, dict) else None
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise ValueError(f"has no {name}")
    return key


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> CaptionFileError:
    return CaptionFileError(f"cannot read captions from {printable(path)}: {problem}; {remedy}")
