"""Networks beside CLIP: what stands on feature maps, and what gives them."""

from .pixelclip_decoder import PixelCLIPDecoder
from .timm_features import TimmFeatures, build_timm_features

__all__ = ["PixelCLIPDecoder", "TimmFeatures", "build_timm_features"]
