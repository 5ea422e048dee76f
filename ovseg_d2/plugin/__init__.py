"""The systems as detectron2's citizens: registered adapters over the plain half."""

from .backbones import OVSegCLIPBackbone, OVSegTimmBackbone
from .base import OpenVocabularyModel
from .build import build_text_bank, build_tower
from .clip_pretrain import CLIPPretrain
from .maskclip import MaskCLIP
from .masked_distill_clip import MaskedDistillCLIP
from .pixelclip import ClusterDescription, PixelCLIP
from .pixelclip_head import OVSegPixelCLIPClusterHead

__all__ = [
    "CLIPPretrain",
    "ClusterDescription",
    "MaskCLIP",
    "MaskedDistillCLIP",
    "OVSegCLIPBackbone",
    "OVSegPixelCLIPClusterHead",
    "OVSegTimmBackbone",
    "OpenVocabularyModel",
    "PixelCLIP",
    "build_text_bank",
    "build_tower",
]
