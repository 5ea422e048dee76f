"""Masks, with and without a noun: where they come from, and how they are stored."""

from .dino import DinoClusters
from .felzenszwalb import Felzenszwalb
from .labels import masks_of_labels, nearest_pixels
from .pairs import MaskPair, PairFile, PairFileError, read_pair_info, read_pairs, write_pairs
from .rle import encode_masks
from .sam import SamMasks
from .segmentations import decode_masks
from .source import CachedMasks, MaskFolder, MaskSource
from .store import MaskFileError, mask_file_name, read_info, read_masks, write_masks

__all__ = [
    "CachedMasks",
    "DinoClusters",
    "Felzenszwalb",
    "MaskFileError",
    "MaskFolder",
    "MaskPair",
    "MaskSource",
    "PairFile",
    "PairFileError",
    "SamMasks",
    "decode_masks",
    "encode_masks",
    "mask_file_name",
    "masks_of_labels",
    "nearest_pixels",
    "read_info",
    "read_masks",
    "read_pair_info",
    "read_pairs",
    "write_masks",
    "write_pairs",
]
