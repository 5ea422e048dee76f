"""From dataset dicts to what models read."""

from .captions import CaptionMapper
from .masks import MaskMapper
from .pairs import PairMapper
from .semantic import PictureMapper, SemanticMapper
from .test import TestMapper

TRAIN_MAPPERS = {
    "captions": CaptionMapper,
    "masks": MaskMapper,
    "pairs": PairMapper,
    "pictures": PictureMapper,
    "semantic": SemanticMapper,
}

__all__ = [
    "TRAIN_MAPPERS",
    "CaptionMapper",
    "MaskMapper",
    "PairMapper",
    "PictureMapper",
    "SemanticMapper",
    "TestMapper",
]
