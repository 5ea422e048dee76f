"""Weights released by other projects: recognition, and conversion to the names of this project."""

from .hugging_face import convert_hugging_face_clip, hugging_face_prefix
from .maskclip import convert_maskclip, flatten_maskclip
from .maskclip_plus import convert_maskclip_plus
from .maskformer import convert_maskformer, convert_proposal_head
from .ovseg import convert_ovseg
from .pixelclip import convert_pixelclip, convert_pixelclip_decoder
from .recognise import RELEASES, convert_release, recognise
from .release import TRAINING_ENTRY, Converted, Release
from .swin import convert_swin

__all__ = [
    "RELEASES",
    "TRAINING_ENTRY",
    "Converted",
    "Release",
    "convert_maskclip_plus",
    "convert_hugging_face_clip",
    "convert_maskclip",
    "convert_maskformer",
    "convert_ovseg",
    "convert_pixelclip",
    "convert_pixelclip_decoder",
    "convert_proposal_head",
    "convert_release",
    "convert_swin",
    "flatten_maskclip",
    "hugging_face_prefix",
    "recognise",
]
