"""From dataset dicts to what models read."""

from .captions import CaptionMapper
from .masks import MaskMapper
from .pairs import PairMapper
from .test import TestMapper

TRAIN_MAPPERS = {"captions": CaptionMapper, "masks": MaskMapper, "pairs": PairMapper}

__all__ = ["TRAIN_MAPPERS", "CaptionMapper", "MaskMapper", "PairMapper", "TestMapper"]
