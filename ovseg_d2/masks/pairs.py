"""Mask-category pairs in a file: what MaskAdaptedCLIP is trained on, one JSON object a line.

The first line tells how the pairs came about, every other one is a pair: picture, mask and noun.
Crops are not stored: they are cut when they are needed, so that fill and augmentation stay choices.
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
_SCHEME = "://"


class PairFileError(ValueError):
    """Pairs cannot be read: one sentence with the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class MaskPair:
    """A mask and what it shows.

    Attributes:
        image: the picture's name: virtual, or a path.
        mask: ``{"size": [H, W], "counts": ...}`` of COCO, of the picture's size.
        noun: a noun, a noun phrase or the name of a class.
        caption: where the noun was found; "" where it comes from elsewhere.
        score: cosine of the masked crop and the noun when the pair was made; None if unknown.
    """

    image: str
    mask: Mapping[str, Any]
    noun: str
    caption: str = ""
    score: float | None = None

    def decode(self, size: tuple[int, int]) -> np.ndarray:
        """(H, W) bool, the mask of a picture of (H, W) pixels.

        Raises:
            ValueError: the mask is of another size, does not decode, or is empty.
        """
        try:
            (mask,) = decode_masks([self.mask], size)
        except ValueError as error:
            problem = str(error).removeprefix("number 0 ")
            raise ValueError(
                f"the mask of {self.noun!r} in {self.image} {problem}; pair each picture with "
                "masks made of it"
            ) from error
        if not mask.any():
            raise ValueError(f"the mask of {self.noun!r} in {self.image} is empty; leave it out")
        return mask


@dataclass(frozen=True)
class PairFile:
    """What a file of pairs holds.

    Attributes:
        pairs: those that are whole.
        info: how they came about.
        left_out: counts the lines that are none.
    """

    pairs: list[MaskPair]
    info: dict[str, Any]
    left_out: LeftOut = field(default_factory=LeftOut)

    @property
    def problems(self) -> list[str]:
        """A clause for each of the first lines that are none, with its number."""
        return self.left_out.reasons


def write_pairs(
    path: str | os.PathLike[str], pairs: Iterable[MaskPair], info: Mapping[str, Any]
) -> int:
    """Write pairs; the file appears whole or not at all.

    Args:
        path: the file.
        pairs: any number, drawn one by one.
        info: how they came about; it must be JSON. Pictures' paths are relative to its entry
            ``image_root``, where there is one.

    Returns:
        How many there were.

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
    """Read pairs; lines that are none are left out and told.

    Masks are not decoded here: that takes as long as cutting them out does.

    Args:
        path: a file of `write_pairs`.

    Returns:
        Pairs in the file's order. Pictures' relative paths are below its ``image_root``, which is
        in the first line, for those who move pictures to correct.

    Raises:
        PairFileError: the file is missing or holds no pair at all.
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
    """Read how the pairs of a file came about, from its first line; {} where that is unknown.

    Raises:
        PairFileError: the file cannot be read.
    """
    number, entry = next(_entries(path, LeftOut()), (0, {}))
    info = entry.get("info")
    return info if number == 1 and isinstance(info, dict) else {}


def _entries(
    path: str | os.PathLike[str], left_out: LeftOut
) -> Iterator[tuple[int, dict[str, Any]]]:
    """`read_json_lines`, with a sentence for a file that cannot be read."""
    try:
        yield from read_json_lines(path, left_out)
    except FileNotFoundError as error:
        remedy = "make it with tools/mine_pairs.py, or correct the path"
        raise _error(path, describe_problem(error), remedy) from error
    except OSError as error:
        remedy = "check the path and its permissions"
        raise _error(path, describe_problem(error), remedy) from error


def _image_root(path: str | os.PathLike[str], info: Mapping[str, Any]) -> str:
    """The folder of relative names; "" where the first line tells none."""
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
    # Names come again and again: kept once, millions of pairs fit into memory.
    return MaskPair(
        sys.intern(image),
        {"size": mask["size"], "counts": mask["counts"]},
        sys.intern(noun),
        caption if isinstance(caption, str) else "",
        _score_of(entry.get("score")),
    )


def _score_of(score: object) -> float | None:
    """A finite number, or None where there is none."""
    if not isinstance(score, int | float):
        return None
    if not abs(score) < sys.float_info.max:  # not a number fails the comparison, too
        raise ValueError(f"has the score {shorten(score)}, which is no cosine")
    return float(score)


def _below(root: str, pair: MaskPair) -> MaskPair:
    if _SCHEME in pair.image or os.path.isabs(pair.image):
        return pair
    image = sys.intern(os.path.join(root, pair.image))
    return MaskPair(image, pair.mask, pair.noun, pair.caption, pair.score)


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> PairFileError:
    return PairFileError(f"cannot read pairs from {printable(path)}: {problem}; {remedy}")
