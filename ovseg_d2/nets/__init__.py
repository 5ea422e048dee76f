"""Networks beside CLIP: backbones, and decoders and heads on their feature maps."""

from .dense_heads import DeepLabV2Head, DeepLabV3PlusHead, PSPHead
from .dense_network import DenseNetwork
from .feature_queue import FeatureQueue
from .matcher import HungarianMatcher
from .online_tokenizer import OnlineTokenizer
from .pixel_decoder import PixelDecoder
from .pixelclip_decoder import PixelCLIPDecoder
from .position_encoding import sine_positions
from .proposal_head import ProposalHead, Proposals, proposal_head_parts
from .swin_features import SwinFeatures, build_swin_features
from .text_classifier import MapperKind, TextClassifier
from .timm_features import TimmFeatures, build_timm_features
from .token_decoder import PatchDecoder, TokenDecoder
from .transformer_decoder import TransformerDecoder
from .transformer_encoder import TransformerEncoder

__all__ = [
    "DeepLabV2Head",
    "DeepLabV3PlusHead",
    "DenseNetwork",
    "FeatureQueue",
    "HungarianMatcher",
    "MapperKind",
    "OnlineTokenizer",
    "PSPHead",
    "PatchDecoder",
    "PixelCLIPDecoder",
    "PixelDecoder",
    "ProposalHead",
    "Proposals",
    "SwinFeatures",
    "TextClassifier",
    "TimmFeatures",
    "TokenDecoder",
    "TransformerDecoder",
    "TransformerEncoder",
    "build_swin_features",
    "build_timm_features",
    "proposal_head_parts",
    "sine_positions",
]
