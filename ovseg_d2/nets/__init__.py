"""Networks beside CLIP: backbones, and decoders and heads on their feature maps."""

from .dense_heads import *
from .dense_network import *
from .feature_queue import *
from .matcher import *
from .online_tokenizer import *
from .pixel_decoder import *
from .pixelclip_decoder import *
from .position_encoding import *
from .proposal_head import *
from .swin_features import *
from .text_classifier import *
from .timm_features import *
from .token_decoder import *
from .transformer_decoder import *
from .transformer_encoder import *
