"""Unlabelled masks: where they come from, and how they are stored."""

from .felzenszwalb import Felzenszwalb, masks_of_labels
from .source import CachedMasks, MaskFolder, MaskSource
from .store import MaskFileError, mask_file_name, read_info, read_masks, write_masks

__all__ = [
    "CachedMasks",
    "Felzenszwalb",
    "MaskFileError",
    "MaskFolder",
    "MaskSource",
    "mask_file_name",
    "masks_of_labels",
    "read_info",
    "read_masks",
    "write_masks",
]
