"""Registered adapters of the systems to detectron2."""

from .backbones import OVSegCLIPBackbone, OVSegTimmBackbone
from .clip_fine_tune import CLIPFineTune
from .clip_parts import build_text_bank, build_tower
from .clip_pretrain import CLIPPretrain
from .dense_head import (
    OVSegDeepLabV2Head,
    OVSegDeepLabV3PlusHead,
    OVSegNoHead,
    OVSegPSPHead,
)
from .mask_adapted_clip import MaskAdaptedCLIP
from .maskclip import MaskCLIP
from .maskclip_plus import MaskCLIPPlus
from .masked_distill_clip import MaskedDistillCLIP
from .open_vocabulary import OpenVocabularyModel
from .ovseg import OVSeg
from .ovseg_head import OVSegMaskFormerHead
from .ovseg_maskformer import OVSegMaskFormer
from .pixelclip import ClusterDescription, OVSegPixelCLIPClusterHead, PixelCLIP
from .registered import build_model

__all__ = [
    "CLIPFineTune",
    "CLIPPretrain",
    "ClusterDescription",
    "MaskAdaptedCLIP",
    "MaskCLIP",
    "MaskCLIPPlus",
    "MaskedDistillCLIP",
    "OVSeg",
    "OVSegCLIPBackbone",
    "OVSegDeepLabV2Head",
    "OVSegDeepLabV3PlusHead",
    "OVSegMaskFormer",
    "OVSegMaskFormerHead",
    "OVSegNoHead",
    "OVSegPSPHead",
    "OVSegPixelCLIPClusterHead",
    "OVSegTimmBackbone",
    "OpenVocabularyModel",
    "PixelCLIP",
    "build_model",
    "build_text_bank",
    "build_tower",
]
