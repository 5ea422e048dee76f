"""Files of mask-category pairs, the training data of MaskAdaptedCLIP: one JSON object per line.

The first line holds how the pairs were made, every other line a pair: image, mask and noun. Crops
are not stored but cut during training, so that fill and augmentation stay options.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ovseg_d2.files import write_atomically
from ovseg_d2.json_files import (
    LeftOut,
    check_name,
    check_text,
    describe_problem,
    printable,
    read_json_lines,
    shorten,
)
from ovseg_d2.masks.segmentations import decode_masks

__all__ = ["MaskPair", "PairFile", "PairFileError", "read_pair_info", "read_pairs", "write_pairs"]

_MAKE_AGAIN = "make it again with tools/mine_pairs.py"
_CHECK = "check the path and its permissions"
_SCHEME = "://"


class PairFileError(ValueError):
    """A file of pairs cannot be read; the text names the file, the problem and the remedy."""


@dataclass(frozen=True)
class MaskPair:
    """A mask of an image and its category.

    Attributes:
        image: name of the image, a path or virtual.
        mask: ``{"size": [H, W], "counts": ...}`` of COCO, of the image's size.
        noun: a noun, a noun phrase or the name of a class.
        caption: the caption that contains the noun; "" if it comes from labels.
        score: cosine of the masked crop and the noun when the pair was made; None if unknown.
    """

    image: str
    mask: Mapping[str, Any]
    noun: str
    caption: str = ""
    score: float | None = None

    def decode(self, size: tuple[int, int]) -> np.ndarray:
        """Return the mask, (H, W) bool, of an image of (H, W) pixels.

        Raises:
            ValueError: the mask is of another size, does not decode, or is empty.
        """
        try:
            (mask,) = decode_masks([self.mask], size)
        except ValueError as error:
            problem = str(error).removeprefix("number 0 ")
            raise ValueError(
                f"the mask of {self.noun!r} in {self.image} {problem}; pair each image with "
                "its own masks"
            ) from error
        if not mask.any():
            raise ValueError(f"the mask of {self.noun!r} in {self.image} is empty; leave it out")
        return mask


@dataclass(frozen=True)
class PairFile:
    """Content of a file of pairs.

    Attributes:
        pairs: the valid ones.
        info: how they were made.
        left_out: number and reasons of the lines that are not valid.
    """

    pairs: list[MaskPair]
    info: dict[str, Any]
    left_out: LeftOut = field(default_factory=LeftOut)


def write_pairs(
    path: str | os.PathLike[str], pairs: Iterable[MaskPair], info: Mapping[str, Any]
) -> int:
    """Write pairs; the file appears whole or not at all.

    Args:
        path: the file.
        pairs: any number; consumed one by one.
        info: how they were made, as JSON values. Image paths are relative to its entry
            ``image_root``, if present.

    Returns:
        The number of pairs.

    Raises:
        WriteError: the file cannot be written.
    """
    count = 0
    with write_atomically(path, "w") as file:
        file.write(json.dumps({"info": dict(info)}) + "\n")
        for pair in pairs:
            entry: dict[str, Any] = {"image": pair.image, "noun": pair.noun, "mask": pair.mask}
            if pair.caption:
                entry["caption"] = pair.caption
            if pair.score is not None:
                entry["score"] = round(pair.score, 4)
            file.write(json.dumps(entry) + "\n")
            count += 1
    return count


def read_pairs(path: str | os.PathLike[str]) -> PairFile:
    """Read pairs; invalid lines are left out and counted.

    Masks are not decoded here: that takes as long as cutting the crops.

    Args:
        path: a file of `write_pairs`.

    Returns:
        Pairs in the file's order. Relative image paths are joined to the ``image_root`` of the
        first line, which can be edited after images were moved.

    Raises:
        PairFileError: the file is missing or holds no pair.
    """
    info: dict[str, Any] = {}
    pairs: list[MaskPair] = []
    left_out = LeftOut()
    for number, entry in _entries(path, left_out):
        if number == 1 and isinstance(entry.get("info"), dict):
            info = entry["info"]
            continue
        try:
            pairs.append(_pair_of(entry))
        except ValueError as error:
            left_out.add(number, str(error))
    if not pairs and (left_out.count or not info):
        problem = f"it holds no pair ({left_out.reasons[0]})" if left_out.count else "it is empty"
        raise _error(path, problem, _MAKE_AGAIN)
    root = _image_root(path, info)
    if root:
        pairs = [_below(root, pair) for pair in pairs]
    return PairFile(pairs, info, left_out)


def read_pair_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read how the pairs of a file were made, from its first line; {} if unknown.

    Raises:
        PairFileError: the file cannot be read.
    """
    number, entry = next(_entries(path, LeftOut()), (0, {}))
    info = entry.get("info")
    return info if number == 1 and isinstance(info, dict) else {}


def _entries(
    path: str | os.PathLike[str], left_out: LeftOut
) -> Iterator[tuple[int, dict[str, Any]]]:
    """`read_json_lines` with the errors of this module."""
    try:
        yield from read_json_lines(path, left_out)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        remedy = "make it with tools/mine_pairs.py, or correct the path" if missing else _CHECK
        raise _error(path, describe_problem(error), remedy) from error


def _image_root(path: str | os.PathLike[str], info: Mapping[str, Any]) -> str:
    """Folder of relative image paths; "" if the first line has none."""
    root = info.get("image_root", "")
    if root == "":
        return ""
    try:
        return check_name(root, "image_root")
    except ValueError as error:
        raise _error(path, f"its first line {error}", "correct 'image_root' there") from error


def _pair_of(entry: dict[str, Any]) -> MaskPair:
    image, noun = check_name(entry.get("image"), "image"), check_text(entry.get("noun"), "noun")
    mask = entry.get("mask")
    if not isinstance(mask, dict) or not {"size", "counts"} <= mask.keys():
        raise ValueError("has no mask {'size': [H, W], 'counts': ...}")
    caption = entry.get("caption", "")
    # Names repeat: interned, millions of pairs fit into memory.
    return MaskPair(
        sys.intern(image),
        {"size": mask["size"], "counts": mask["counts"]},
        sys.intern(noun),
        caption if isinstance(caption, str) else "",
        _score_of(entry.get("score")),
    )


def _score_of(score: object) -> float | None:
    """A finite number, or None if absent."""
    if not isinstance(score, int | float):
        return None
    if not abs(score) < sys.float_info.max:  # also False for NaN
        raise ValueError(f"has the score {shorten(score)}, which is not a cosine")
    return float(score)


def _below(root: str, pair: MaskPair) -> MaskPair:
    if _SCHEME in pair.image or os.path.isabs(pair.image):
        return pair
    image = sys.intern(os.path.join(root, pair.image))
    return MaskPair(image, pair.mask, pair.noun, pair.caption, pair.score)


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> PairFileError:
    return PairFileError(f"cannot read pairs from {printable(path)}: {problem}; {remedy}")
