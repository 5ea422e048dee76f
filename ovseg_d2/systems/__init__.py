"""The systems: one file each, built from parts, tensors in and tensors out."""

from .clip_pretrain import CLIPPretrain
from .maskclip import MaskCLIP
from .pixelclip import PixelCLIP, PixelCLIPStatistics
from .pixelclip_inference import PixelCLIPInference

__all__ = [
    "CLIPPretrain",
    "MaskCLIP",
    "PixelCLIP",
    "PixelCLIPInference",
    "PixelCLIPStatistics",
]
