"""Weights released by other projects: recognition, and conversion to the names of this project."""

from .maskformer import convert_maskformer, convert_proposal_head
from .ovseg import convert_ovseg
from .pixelclip import convert_pixelclip, convert_pixelclip_decoder
from .recognise import RELEASES, recognise
from .release import Converted, Release
from .swin import convert_swin

__all__ = [
    "RELEASES",
    "Converted",
    "Release",
    "convert_maskformer",
    "convert_ovseg",
    "convert_pixelclip",
    "convert_pixelclip_decoder",
    "convert_proposal_head",
    "convert_swin",
    "recognise",
]
