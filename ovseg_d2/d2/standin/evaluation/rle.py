"""COCO's run-length encoding of masks, in which predictions are written to JSON."""

from typing import Any

import numpy as np

__all__ = ["encode_rle"]


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask as ``pycocotools.mask.encode`` does, without needing it.

    Pixels are read column by column. The runs, alternately of zeros and ones and beginning with
    zeros, are written in digits of base 32, the fourth and later ones as the difference to the
    run two before.

    Args:
        mask: (H, W) bool.

    Returns:
        ``size`` [H, W] and ``counts``, an ASCII string.
    """
    pixels = mask.T.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    bounds = np.concatenate([[0], changes, [pixels.size]])
    runs = np.diff(bounds).tolist()
    if pixels.size and pixels[0]:
        runs.insert(0, 0)
    deltas = [run - runs[i - 2] if i > 2 else run for i, run in enumerate(runs)]
    return {"size": list(mask.shape), "counts": "".join(map(_encode_number, deltas))}


def _encode_number(number: int) -> str:
    """Write five bits a character, the lowest first; bit 5 says that more follow.

    The last character's bit 4 is the sign, hence the number is complete as soon as all that is
    left equals that sign.
    """
    characters = []
    while True:
        digit = number & 0x1F
        number >>= 5
        is_last = number == (-1 if digit & 0x10 else 0)
        characters.append(chr(48 + (digit if is_last else digit | 0x20)))
        if is_last:
            return "".join(characters)
