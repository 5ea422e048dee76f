"""The systems: one file each, built from parts, tensors in and tensors out."""

from .clip_pretrain import CLIPPretrain
from .image_proposals import ImageProposals
from .maskclip import MaskCLIP
from .ovseg_maskformer import OVSegMaskFormer
from .pixelclip import PixelCLIP, PixelCLIPStatistics
from .pixelclip_inference import PixelCLIPInference

__all__ = [
    "CLIPPretrain",
    "ImageProposals",
    "MaskCLIP",
    "OVSegMaskFormer",
    "PixelCLIP",
    "PixelCLIPInference",
    "PixelCLIPStatistics",
]
