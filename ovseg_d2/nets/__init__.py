"""Networks beside CLIP: what stands on feature maps, and what gives them."""

from .feature_queue import FeatureQueue
from .matcher import HungarianMatcher
from .online_tokenizer import OnlineTokenizer
from .pixel_decoder import PixelDecoder
from .pixelclip_decoder import PixelCLIPDecoder
from .position_encoding import sine_positions
from .proposal_head import ProposalHead, Proposals, build_proposal_head
from .timm_features import TimmFeatures, build_timm_features
from .token_decoder import PatchDecoder, TokenDecoder
from .transformer_decoder import TransformerDecoder
from .transformer_encoder import TransformerEncoder

__all__ = [
    "FeatureQueue",
    "HungarianMatcher",
    "OnlineTokenizer",
    "PatchDecoder",
    "PixelCLIPDecoder",
    "PixelDecoder",
    "ProposalHead",
    "Proposals",
    "TimmFeatures",
    "TokenDecoder",
    "TransformerDecoder",
    "TransformerEncoder",
    "build_proposal_head",
    "build_timm_features",
    "sine_positions",
]
