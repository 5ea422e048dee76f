"""CLIP towers: loading, any resolution, global and dense features, text."""

from .advice import local_feature_advice
from .crops import fill_color, prepare_crops
from .freezing import TrainPolicy, set_trainable
from .last_block import LastBlock
from .load import load_clip
from .mask_prompts import MaskPromptedTower, load_prompted_tower
from .positions import resample_positions
from .stages import encode_stages, stage_shapes
from .tower import CLIPTower
from .weights import read_mask_prompts, save_weights

__all__ = [
    "CLIPTower",
    "LastBlock",
    "MaskPromptedTower",
    "TrainPolicy",
    "encode_stages",
    "fill_color",
    "load_clip",
    "load_prompted_tower",
    "local_feature_advice",
    "prepare_crops",
    "read_mask_prompts",
    "resample_positions",
    "save_weights",
    "set_trainable",
    "stage_shapes",
]
