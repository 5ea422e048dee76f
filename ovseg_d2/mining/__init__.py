"""Mask-category pairs from captions: nouns, and the masks that match them."""

from .captions import CaptionFile, CaptionFileError, read_coco_captions
from .match import MaskMatcher, Match
from .nouns import find_nouns
from .taggers import TAGGERS, HanTaTagger, NltkTagger, SpacyTagger, TaggedWord, Tagger, build_tagger

__all__ = [
    "TAGGERS",
    "CaptionFile",
    "CaptionFileError",
    "HanTaTagger",
    "MaskMatcher",
    "Match",
    "NltkTagger",
    "SpacyTagger",
    "TaggedWord",
    "Tagger",
    "build_tagger",
    "find_nouns",
    "read_coco_captions",
]
