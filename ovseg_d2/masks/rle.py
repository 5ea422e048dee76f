"""COCO's run-length encoding of masks, with the checks that pycocotools leaves out.

pycocotools trusts the runs: where they end too early it returns whatever was in memory. So they are
read here first, and only runs that fill their grid exactly are decoded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

__all__ = ["decode_masks", "encode_masks"]

_CONTINUES, _SIGN, _BITS = 0x20, 0x10, 0x1F
_MAX_CHARS = 7  # of one run: 35 bits


def encode_masks(masks: np.ndarray) -> list[dict[str, Any]]:
    """Encode masks.

    Args:
        masks: (Q, H, W) bool.

    Returns:
        One ``{"size": [H, W], "counts": text}`` each.
    """
    planes = np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))
    encoded = coco_mask.encode(planes) if len(masks) else []
    return [{"size": list(rle["size"]), "counts": rle["counts"].decode()} for rle in encoded]


def decode_masks(rles: Sequence[object], size: tuple[int, int]) -> np.ndarray:
    """Decode masks of one picture.

    Args:
        rles: ``{"size": [H, W], "counts": ...}`` each; counts are compressed (text or bytes) or a
            list of run lengths, columns first, beginning with a run outside the mask.
        size: (H, W) that all of them must have.

    Returns:
        (Q, H, W) bool.

    Raises:
        ValueError: an encoding of another size, or one whose runs do not fill it; the text begins
            with its number.
    """
    height, width = size
    # Runs go down the columns, so this is the order in which they are written fastest.
    masks = np.zeros((len(rles), width, height), dtype=bool).transpose(0, 2, 1)
    for number, rle in enumerate(rles):
        try:
            masks[number] = _decode(rle, height, width)
        except ValueError as error:
            raise ValueError(f"number {number} {error}") from error
    return masks


def _decode(rle: object, height: int, width: int) -> np.ndarray:
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise ValueError(f"is {_short(rle)} and no {{'size': [H, W], 'counts': ...}}")
    if rle["size"] not in ([height, width], (height, width)):
        raise ValueError(f"has the size {_short(rle['size'])} instead of {[height, width]}")
    counts = rle["counts"]
    runs = _run_lengths(counts)
    area = height * width
    if runs.min() < 0 or runs.max() > area or runs.sum() != area:
        raise ValueError(
            f"does not decode: its counts {_short(counts)} do not fill {height} x {width} pixels"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _run_lengths(counts: object) -> np.ndarray:
    """(R,) int64 lengths of the runs, whatever they sum to."""
    if isinstance(counts, list):
        if not counts or not all(type(run) is int and abs(run) < 2**31 for run in counts):
            raise _undecodable(counts)
        return np.array(counts, dtype=np.int64)
    if not isinstance(counts, str | bytes):
        raise _undecodable(counts)
    text = counts.encode("utf-8", "surrogatepass") if isinstance(counts, str) else counts
    chars = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((chars & _CONTINUES) == 0)
    if len(chars) == 0 or chars.min() < 0 or chars.max() > 63 or ends[-1:] != len(chars) - 1:
        raise _undecodable(counts)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends + 1 - starts
    if lengths.max() > _MAX_CHARS:
        raise _undecodable(counts)
    places = np.arange(len(chars)) - np.repeat(starts, lengths)
    values = np.add.reduceat((chars & _BITS) << (5 * places), starts)
    values -= np.where(chars[ends] & _SIGN, np.int64(1) << (5 * lengths), 0)
    # From the fourth run on, what is written is the difference to the last run but one.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _undecodable(counts: object) -> ValueError:
    return ValueError(f"does not decode: its counts are {_short(counts)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
