"""Where masks come from: one interface for all of them."""

import hashlib
import os
from collections import OrderedDict
from typing import Protocol

import numpy as np

from ovseg_d2.files import expand_user
from ovseg_d2.masks.store import MaskFileError, mask_file_name, read_masks

__all__ = ["CachedMasks", "MaskFolder", "MaskSource"]


class MaskSource(Protocol):
    """Unlabelled masks of any picture."""

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """Masks of a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            file_name: where the picture comes from; only sources that look masks up read it.

        Returns:
            (Q, H, W) bool, none of them empty; they may overlap, and need not cover the picture.
        """
        ...


class MaskFolder:
    """Masks that were written before, one file for each picture, named by `mask_file_name`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Look into the folder.

        Raises:
            MaskFileError: it does not exist, or holds no masks at all.
        """
        self._folder = expand_user(folder)
        remedy = "fill it with tools/generate_masks.py, or name another one"
        if not self._folder.is_dir():
            raise MaskFileError(f"there is no folder of masks {str(folder)!r}; {remedy}")
        with os.scandir(self._folder) as entries:
            if not any(entry.name.endswith(".json") for entry in entries):
                raise MaskFileError(
                    f"the folder {str(folder)!r} holds no masks, that is no .json files; {remedy}"
                )

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of the picture of that name.

        Raises:
            MaskFileError: see `read_masks`.
        """
        return read_masks(self._folder / mask_file_name(file_name), image.shape[:2])


class CachedMasks:
    """Remembers the masks of the pictures last seen, by what the pictures show."""

    def __init__(self, source: MaskSource, max_bytes: int) -> None:
        """Wrap a source whose masks depend on the picture alone.

        Args:
            source: makes the masks.
            max_bytes: of masks kept, eight pixels a byte.
        """
        self._source = source
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, tuple[np.ndarray, tuple[int, ...]]] = OrderedDict()

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool, made anew or remembered."""
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        if digest in self._kept:
            self._kept.move_to_end(digest)
            bits, shape = self._kept[digest]
            return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)
        masks = self._source(image, file_name)
        bits = np.packbits(masks)
        self._kept[digest] = (bits, masks.shape)
        self._bytes += bits.nbytes
        while self._bytes > self._max_bytes:
            _, (dropped, _) = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return masks
