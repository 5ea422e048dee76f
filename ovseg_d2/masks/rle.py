"""COCO's run-length encoding of masks, with the checks that pycocotools leaves out.

pycocotools does not check the runs: if they end too early, it returns uninitialised memory. They
are therefore parsed here, and decoded only if they fill their grid exactly.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ovseg_d2.json_files import shorten

__all__ = ["decode_rle", "encode_masks"]

_CONTINUES, _SIGN, _BITS = 0x20, 0x10, 0x1F
_MAX_CHARS = 7  # of one run: 35 bits


def encode_masks(masks: np.ndarray) -> list[dict[str, Any]]:
    """Encode masks (Q, H, W) bool as Q dicts ``{"size": [H, W], "counts": text}``."""
    planes = np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))
    encoded = coco_mask.encode(planes) if len(masks) else []
    return [{"size": list(rle["size"]), "counts": rle["counts"].decode()} for rle in encoded]


def decode_rle(rle: object, size: tuple[int, int]) -> np.ndarray:
    """Decode one mask.

    Args:
        rle: ``{"size": [H, W], "counts": ...}``; counts are compressed (text or bytes) or a list of
            run lengths, column by column, starting with a run outside the mask.
        size: expected (H, W).

    Returns:
        (H, W) bool.

    Raises:
        ValueError: another size, or runs that do not fill it; the text continues "the mask ...".
    """
    height, width = size
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise ValueError(f"is {shorten(rle)} instead of {{'size': [H, W], 'counts': ...}}")
    if rle["size"] not in ([height, width], (height, width)):
        raise ValueError(f"has the size {shorten(rle['size'])} instead of {[height, width]}")
    counts = rle["counts"]
    runs = _run_lengths(counts)
    area = height * width
    if runs.min() < 0 or runs.max() > area or runs.sum() != area:
        raise ValueError(
            f"does not decode: its counts {shorten(counts)} do not fill {height} x {width} pixels"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def _run_lengths(counts: object) -> np.ndarray:
    """(R,) int64 lengths of the runs; their sum is not checked."""
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
    # From the fourth run on, the difference to the run two before is stored.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _undecodable(counts: object) -> ValueError:
    return ValueError(f"does not decode: its counts are {shorten(counts)}")
