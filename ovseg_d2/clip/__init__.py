"""CLIP towers: loading, any resolution, global and dense features, text."""

from .last_block import LastBlock
from .load import load_clip
from .positions import resample_positions
from .tower import CLIPTower
from .weights import save_weights

__all__ = ["CLIPTower", "LastBlock", "load_clip", "resample_positions", "save_weights"]
