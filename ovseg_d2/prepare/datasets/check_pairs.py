"""Checking an image and its label file: readable, of one size, of the right type."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from ...data.images import DECODE_ERRORS, ImageReadError, known_formats, read_image
from ...data.readers import LabelFileError, read_labels
from ...json_files import printable

__all__ = ["Pair", "PairResult", "check_pair", "group_problems", "image_size"]

# What the last bytes of a whole file are.
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
_MODES = {"uint8": ("L", "P"), "uint16": ("I;16", "I;16B", "I;16L")}


@dataclass(frozen=True)
class Pair:
    """An image and its label file.

    Args:
        stem: their common name.
        image: path of the image.
        label: path of the label file.
    """

    stem: str
    image: Path
    label: Path


@dataclass(frozen=True)
class PairResult:
    """What a pair holds.

    Attributes:
        stem: name of the pair.
        problems: kind of problem -> its details.
        ids: sorted ids in the label file.
    """

    stem: str
    problems: dict[str, str]
    ids: tuple[int, ...]


def check_pair(dtype: str, pair: Pair) -> PairResult:
    """Check a pair: headers, the end of the image, and all pixels of the labels.

    An image is decoded only if its last bytes are not the end of its format.

    Args:
        dtype: "uint8" or "uint16", type of the label file.
        pair: the files.
    """
    problems: dict[str, str] = {}
    size, labels = None, None
    try:
        size = image_size(pair.image)
    except ImageReadError as error:
        problems["images that cannot be read"] = str(error)
    try:
        labels = read_labels(pair.label)
        with Image.open(pair.label) as image:
            mode = image.mode
    except (LabelFileError, OSError) as error:
        problems["label files that cannot be read"] = str(error)
        return PairResult(pair.stem, problems, ())
    if mode not in _MODES[dtype]:
        problems[f"label files of another type than {dtype}"] = (
            f"{printable(pair.label)} of Pillow's mode {mode}"
        )
    if size is not None and labels.shape != size:
        problems["label files of another size than their image"] = (
            f"{printable(pair.label)} with {labels.shape[0]} x {labels.shape[1]} pixels for an "
            f"image of {size[0]} x {size[1]}"
        )
    return PairResult(pair.stem, problems, tuple(np.unique(labels).tolist()))


def group_problems(results: Iterable[PairResult]) -> list[str]:
    """One sentence for each kind of problem."""
    groups: dict[str, list[str]] = {}
    for result in results:
        for kind, detail in result.problems.items():
            groups.setdefault(kind, []).append(detail)
    return [f"{len(details)} {kind}: {details[0]}" for kind, details in groups.items()]


def image_size(path: Path) -> tuple[int, int]:
    """(h, w) of an upright image.

    Raises:
        ImageReadError: the image is truncated or damaged.
    """
    try:
        with open(path, "rb") as file, Image.open(file, formats=known_formats()) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            whole = _is_whole(path)
    except (Image.DecompressionBombError, *DECODE_ERRORS):
        whole = False
    if not whole:
        height, width = read_image(path).shape[:2]
        return height, width
    return (width, height) if turned else (height, width)


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        end = _ENDS.get(file.read(2), b"")
        file.seek(-min(len(end), path.stat().st_size), 2)
        return file.read() == end
