"""The number of bits that a 16-bit image file uses, and conversion of its values to 8 bits.

Cameras and microscopes store 10 or 12 bits in 16 without scaling them, so that white is 4095 and
the high byte alone is nearly black. `used_bits` recognises this:

1. Values that are scaled to 16 bits (all multiples of 16, or of 257) use all 16 bits.
2. Bits that the file declares (PNG's sBIT, TIFF's BitsPerSample and MaxSampleValue) are used if all
   values fit into them.
3. Else the largest value decides: below 256, 1024 or 4096 it is 8, 10 or 12 bits. This rule reads a
   16-bit photograph whose brightest pixel is below a sixteenth of white too bright; the log names
   the file and the bits.
"""

from __future__ import annotations

import logging
import struct
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from ..json_files import printable

__all__ = ["declared_bits", "decode_16_bit", "levels_of_16_bit", "used_bits"]

_logger = logging.getLogger(__name__)

# TIFF tags.
_BITS, _MAX_VALUE = 258, 281
_UNDECLARED = (8, 10, 12)


def used_bits(values: np.ndarray, declared: int | None = None) -> int:
    """Number of lowest bits that an image uses, 8 to 16.

    Args:
        values: uint16 of any shape, without transparency.
        declared: bits that the file declares, from `declared_bits`.
    """
    largest = int(values.max(initial=0))
    bits = next((known for known in _UNDECLARED if largest < 1 << known), 16)
    if declared is not None and largest < 1 << declared:
        bits = declared
    if bits < 16 and (_all_multiples(values, 16) or _all_multiples(values, 257)):
        return 16
    return bits


def levels_of_16_bit(path: Path, values: np.ndarray, declared: int | None = None) -> np.ndarray:
    """Convert 16-bit values to 8 bits: the highest 8 of the used bits.

    A warning names a file with unused bits, once for each file.

    Args:
        path: of the file, for the log.
        values: uint16 of any shape, without transparency.
        declared: see `used_bits`.

    Returns:
        uint8 of the same shape.
    """
    bits = used_bits(values, declared)
    if bits < 16:
        _note(path, bits, int(values.max(initial=0)))
    return (values >> (bits - 8)).astype(np.uint8)


def declared_bits(path: Path, image: Image.Image) -> int | None:
    """Number of used bits that a PNG or TIFF declares, 8 to 15; None without such a declaration."""
    bits: int | None = None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        largest = _first(image.tag_v2.get(_MAX_VALUE))
        bits = largest.bit_length() if largest else _first(image.tag_v2.get(_BITS))
    elif image.format == "PNG":
        bits = _significant_bits(path)
    return bits if bits is not None and 8 <= bits < 16 else None


def decode_16_bit(path: Path) -> np.ndarray | None:
    """Decode a 16-bit colour file to (H, W, 3 or 4) uint16 RGB(A); None for other files."""
    try:
        bgr = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if bgr is None or bgr.dtype != np.uint16 or bgr.ndim != 3 or bgr.shape[2] not in (3, 4):
        return None
    return bgr[..., [2, 1, 0, 3][: bgr.shape[2]]]


def _all_multiples(values: np.ndarray, factor: int) -> bool:
    return not np.any(values % factor)


def _first(value: object) -> int | None:
    """First number of a TIFF tag."""
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None


def _significant_bits(path: Path) -> int | None:
    """Largest number of PNG's sBIT, a chunk before the pixels; None without it."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", header)
            if name == b"sBIT":
                return max(file.read(min(length, 4)), default=None)
            if name == b"IDAT":
                return None
            file.seek(length + 4, 1)
    return None


@lru_cache(maxsize=4096)
def _note(path: Path, bits: int, largest: int) -> None:
    _logger.warning(
        "%s stores %d bits in 16: its largest value is %d, and white is read as %d; if it is a "
        "dark image of 16 bits, save it with 8",
        printable(path),
        bits,
        largest,
        (1 << bits) - 1,
    )
