"""Mappers from dataset dicts to the inputs of models."""

from .captions import CaptionMapper
from .masks import MaskMapper
from .pairs import PairMapper
from .semantic import ImageMapper, SemanticMapper
from .test import TestMapper
from .truth_masks import TruthMaskMapper

TRAIN_MAPPERS = {
    "captions": CaptionMapper,
    "masks": MaskMapper,
    "pairs": PairMapper,
    "pictures": ImageMapper,
    "semantic": SemanticMapper,
}
# By TEST.TASK.
TEST_MAPPERS = {"segmentation": TestMapper, "mask_crops": TruthMaskMapper}

__all__ = [
    "TEST_MAPPERS",
    "TRAIN_MAPPERS",
    "CaptionMapper",
    "MaskMapper",
    "PairMapper",
    "ImageMapper",
    "SemanticMapper",
    "TestMapper",
    "TruthMaskMapper",
]
