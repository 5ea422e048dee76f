"""From dataset dicts to what models read."""

from .captions import CaptionMapper
from .test import TestMapper

TRAIN_MAPPERS = {"captions": CaptionMapper}

__all__ = ["TRAIN_MAPPERS", "CaptionMapper", "TestMapper"]
