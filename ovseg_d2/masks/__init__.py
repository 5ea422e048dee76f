"""Mask sources, and files of masks and of mask-category pairs."""

from .dino import DinoClusters
from .felzenszwalb import Felzenszwalb
from .labels import masks_of_labels, nearest_pixels
from .pairs import MaskPair, PairFile, PairFileError, read_pair_info, read_pairs, write_pairs
from .patch_features import PatchFeatures, PatchNetwork, load_patch_network
from .registry import MASK_SOURCES, MaskSources, build_mask_source, option_names
from .rle import encode_masks
from .sam import SamMasks
from .segmentations import decode_masks
from .source import CachedMasks, MaskFolder, MaskSource
from .store import MaskFileError, mask_file_name, read_info, read_masks, write_masks

__all__ = [
    "MASK_SOURCES",
    "CachedMasks",
    "DinoClusters",
    "Felzenszwalb",
    "MaskFileError",
    "MaskFolder",
    "MaskPair",
    "MaskSource",
    "MaskSources",
    "PairFile",
    "PairFileError",
    "PatchFeatures",
    "PatchNetwork",
    "SamMasks",
    "build_mask_source",
    "decode_masks",
    "encode_masks",
    "load_patch_network",
    "mask_file_name",
    "masks_of_labels",
    "nearest_pixels",
    "option_names",
    "read_info",
    "read_masks",
    "read_pair_info",
    "read_pairs",
    "write_masks",
    "write_pairs",
]
