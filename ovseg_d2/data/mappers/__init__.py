"""From dataset dicts to what models read."""

from .captions import CaptionMapper
from .masks import MaskMapper
from .test import TestMapper

TRAIN_MAPPERS = {"captions": CaptionMapper, "masks": MaskMapper}

__all__ = ["TRAIN_MAPPERS", "CaptionMapper", "MaskMapper", "TestMapper"]
