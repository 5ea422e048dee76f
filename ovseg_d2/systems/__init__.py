"""The systems of the papers: modules built from parts, tensors in and tensors out."""

from .clip_fine_tune import CLIPFineTune
from .clip_pretrain import CLIPPretrain
from .mask_adapted_clip import MaskAdaptedCLIP
from .maskclip import MaskCLIP
from .maskclip_plus import MaskCLIPPlus, MaskCLIPPlusStatistics
from .masked_distill_clip import MaskedDistillCLIP
from .masked_distillation import (
    DistillationStatistics,
    DistillationTarget,
    MaskedDistillation,
)
from .masked_language import MaskedLanguage
from .ovseg import OTHERS, OVSeg, with_others
from .ovseg_classifier import MaskClasses, OVSegClassifier
from .ovseg_maskformer import ImageProposals, OVSegMaskFormer
from .ovseg_proposals import (
    GeneratedMasks,
    MaskFormerProposals,
    MaskProposals,
    ProposalSource,
    covering_proposals,
    oracle_proposals,
    truth_proposals,
)
from .pixel_scorer import PixelScorer
from .pixelclip import PixelCLIP, PixelCLIPStatistics, cluster_logits
from .pixelclip_inference import PixelCLIPInference
from .text_segmenter import TextSegmenter

__all__ = [
    "OTHERS",
    "CLIPFineTune",
    "CLIPPretrain",
    "DistillationStatistics",
    "DistillationTarget",
    "GeneratedMasks",
    "ImageProposals",
    "MaskAdaptedCLIP",
    "MaskCLIP",
    "MaskCLIPPlus",
    "MaskCLIPPlusStatistics",
    "MaskClasses",
    "MaskFormerProposals",
    "MaskProposals",
    "MaskedDistillCLIP",
    "MaskedDistillation",
    "MaskedLanguage",
    "OVSeg",
    "OVSegClassifier",
    "OVSegMaskFormer",
    "PixelCLIP",
    "PixelCLIPInference",
    "PixelCLIPStatistics",
    "PixelScorer",
    "ProposalSource",
    "TextSegmenter",
    "cluster_logits",
    "covering_proposals",
    "oracle_proposals",
    "truth_proposals",
    "with_others",
]
