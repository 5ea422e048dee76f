"""Networks beside CLIP: what stands on feature maps, and what gives them."""

from .matcher import HungarianMatcher
from .pixel_decoder import PixelDecoder
from .pixelclip_decoder import PixelCLIPDecoder
from .position_encoding import sine_positions
from .proposal_head import ProposalHead, Proposals, build_proposal_head
from .timm_features import TimmFeatures, build_timm_features
from .transformer_decoder import TransformerDecoder
from .transformer_encoder import TransformerEncoder

__all__ = [
    "HungarianMatcher",
    "PixelCLIPDecoder",
    "PixelDecoder",
    "ProposalHead",
    "Proposals",
    "TimmFeatures",
    "TransformerDecoder",
    "TransformerEncoder",
    "build_proposal_head",
    "build_timm_features",
    "sine_positions",
]
