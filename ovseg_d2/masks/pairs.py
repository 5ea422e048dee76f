"""Mask-category pairs in a file: what MaskAdaptedCLIP is trained on, one JSON object a line.

The first line tells how the pairs came about, every other one is a pair: picture, mask and noun.
Crops are not stored: they are cut when they are needed, so that fill and augmentation stay choices.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ovseg_d2.files import write_atomically
from ovseg_d2.masks.rle import decode_masks

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
        problems: a sentence for each line that is none, with its number.
    """

    pairs: list[MaskPair]
    info: dict[str, Any]
    problems: list[str] = field(default_factory=list)


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
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            info, pairs, problems = _read_lines(file)
    except FileNotFoundError as error:
        remedy = "make it with tools/mine_pairs.py, or correct the path"
        raise _error(path, "there is no such file", remedy) from error
    except OSError as error:
        problem = f"the system says {error.strerror!r}"
        raise _error(path, problem, "check the path and its permissions") from error
    if not pairs and (problems or not info):
        problem = f"it holds no pair ({problems[0]})" if problems else "it is empty"
        raise _error(path, problem, _MAKE_AGAIN)
    root = str(info.get("image_root", ""))
    if root:
        pairs = [_below(root, pair) for pair in pairs]
    return PairFile(pairs, info, problems)


def _read_lines(lines: Iterable[str]) -> tuple[dict[str, Any], list[MaskPair], list[str]]:
    info: dict[str, Any] = {}
    pairs: list[MaskPair] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = _parse(line)
            if number == 1 and isinstance(entry.get("info"), dict):
                info = entry["info"]
            else:
                pairs.append(_pair_of(entry))
        except ValueError as error:
            problems.append(f"line {number} {error}")
    return info, pairs, problems


def read_pair_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read how the pairs of a file came about, from its first line; {} where that is unknown.

    Raises:
        PairFileError: the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
            entry = _parse(file.readline())
    except ValueError:
        return {}
    except OSError as error:
        problem = f"the system says {error.strerror!r}"
        raise _error(path, problem, "check the path and its permissions") from error
    info = entry.get("info")
    return info if isinstance(info, dict) else {}


def _parse(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is cut off or no JSON ({error})") from error
    if not isinstance(entry, dict):
        raise ValueError(f"is a {type(entry).__name__} and no JSON object")
    return entry


def _pair_of(entry: dict[str, Any]) -> MaskPair:
    image, noun, mask = entry.get("image"), entry.get("noun"), entry.get("mask")
    for name, value in (("image", image), ("noun", noun)):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"has the {name} {value!r}, which is no text")
    if not isinstance(mask, dict) or not {"size", "counts"} <= mask.keys():
        raise ValueError("has no mask {'size': [H, W], 'counts': ...}")
    score = entry.get("score")
    # Names come again and again: kept once, millions of pairs fit into memory.
    return MaskPair(
        sys.intern(str(image)),
        {"size": mask["size"], "counts": mask["counts"]},
        sys.intern(str(noun)),
        str(entry.get("caption", "")),
        float(score) if isinstance(score, int | float) else None,
    )


def _below(root: str, pair: MaskPair) -> MaskPair:
    if _SCHEME in pair.image or os.path.isabs(pair.image):
        return pair
    image = sys.intern(os.path.join(root, pair.image))
    return MaskPair(image, pair.mask, pair.noun, pair.caption, pair.score)


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> PairFileError:
    return PairFileError(f"cannot read pairs from {os.fspath(path)}: {problem}; {remedy}")
