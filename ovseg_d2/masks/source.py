"""The interface of mask sources, a source that reads files, and a cache."""

import hashlib
import os
from collections import OrderedDict
from typing import Protocol

import numpy as np

from ovseg_d2.files import expand_user
from ovseg_d2.masks.store import MaskFileError, mask_file_name, read_masks

__all__ = ["CachedMasks", "MaskFolder", "MaskSource"]


class MaskSource(Protocol):
    """A function from an image to unlabelled masks."""

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """Return the masks of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            file_name: of the image; used only by sources that look masks up.

        Returns:
            (Q, H, W) bool, none empty; masks may overlap and need not cover the image.
        """
        ...


class MaskFolder:
    """Masks read from a folder, one file per image, named by `mask_file_name`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Check the folder.

        Raises:
            MaskFileError: it does not exist, or holds no masks.
        """
        self._folder = expand_user(folder)
        remedy = "fill it with tools/generate_masks.py, or name another folder"
        if not self._folder.is_dir():
            raise MaskFileError(f"there is no folder of masks {str(folder)!r}; {remedy}")
        with os.scandir(self._folder) as entries:
            if not any(entry.name.endswith(".json") for entry in entries):
                raise MaskFileError(
                    f"the folder {str(folder)!r} holds no masks (.json files); {remedy}"
                )

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """Read the masks (Q, H, W) bool of the image called ``file_name``.

        Raises:
            MaskFileError: those of `read_masks`.
        """
        return read_masks(self._folder / mask_file_name(file_name), image.shape[:2])


class CachedMasks:
    """Caches the masks of recent images, keyed by image content."""

    def __init__(self, source: MaskSource, max_bytes: int) -> None:
        """Start with an empty cache.

        Args:
            source: makes masks that depend on the image only.
            max_bytes: size of the cache; a byte holds eight pixels.
        """
        self._source = source
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, tuple[np.ndarray, tuple[int, ...]]] = OrderedDict()

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """Return masks (Q, H, W) bool from the cache or the source."""
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
