"""Unlabelled masks: where they come from, and how they are stored."""

from .dino import DinoClusters
from .felzenszwalb import Felzenszwalb
from .labels import masks_of_labels, nearest_pixels
from .sam import SamMasks
from .source import CachedMasks, MaskFolder, MaskSource
from .store import MaskFileError, mask_file_name, read_info, read_masks, write_masks

__all__ = [
    "CachedMasks",
    "DinoClusters",
    "Felzenszwalb",
    "MaskFileError",
    "MaskFolder",
    "MaskSource",
    "SamMasks",
    "mask_file_name",
    "masks_of_labels",
    "nearest_pixels",
    "read_info",
    "read_masks",
    "write_masks",
]
