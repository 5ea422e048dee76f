"""CLIP towers: loading, global and dense features at any resolution, text."""

from .advice import image_advice, local_feature_advice
from .affinity import Affinity, Calibration
from .attention_maps import attention_to_texts
from .beside import stored_training
from .crops import fill_color, prepare_crops
from .freezing import TrainPolicy, set_trainable
from .last_block import LastBlock
from .layouts import CLIPFile, read_clip
from .load import load_clip
from .mask_prompts import MaskPromptedTower, load_prompted_tower
from .positions import resample_positions
from .stages import encode_stages, stage_shapes
from .token_feats import (
    encode_image_tokens,
    encode_text_tokens,
    image_heads,
    text_heads,
    token_table,
    word_tokens,
)
from .tower import CLIPTower
from .training import (
    Training,
    adopt_training,
    set_quick_gelu,
    tag_training,
    training_of,
    uses_quick_gelu,
)
from .weights import save_weights

__all__ = [
    "Affinity",
    "CLIPFile",
    "CLIPTower",
    "Calibration",
    "LastBlock",
    "MaskPromptedTower",
    "TrainPolicy",
    "Training",
    "adopt_training",
    "attention_to_texts",
    "encode_image_tokens",
    "encode_stages",
    "encode_text_tokens",
    "fill_color",
    "image_advice",
    "image_heads",
    "load_clip",
    "load_prompted_tower",
    "local_feature_advice",
    "prepare_crops",
    "read_clip",
    "resample_positions",
    "save_weights",
    "set_quick_gelu",
    "set_trainable",
    "stage_shapes",
    "stored_training",
    "tag_training",
    "text_heads",
    "token_table",
    "training_of",
    "uses_quick_gelu",
    "word_tokens",
]
