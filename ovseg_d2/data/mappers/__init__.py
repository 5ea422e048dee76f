"""From dataset dicts to what models read."""

from .captions import CaptionMapper
from .masks import MaskMapper
from .pairs import PairMapper
from .semantic import PictureMapper, SemanticMapper
from .test import TestMapper
from .truth_masks import TruthMaskMapper

TRAIN_MAPPERS = {
    "captions": CaptionMapper,
    "masks": MaskMapper,
    "pairs": PairMapper,
    "pictures": PictureMapper,
    "semantic": SemanticMapper,
}
# By what is tested.
TEST_MAPPERS = {"segmentation": TestMapper, "mask_crops": TruthMaskMapper}

__all__ = [
    "TEST_MAPPERS",
    "TRAIN_MAPPERS",
    "CaptionMapper",
    "MaskMapper",
    "PairMapper",
    "PictureMapper",
    "SemanticMapper",
    "TestMapper",
    "TruthMaskMapper",
]
