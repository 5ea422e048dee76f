"""All keys with their defaults."""

from ..d2.config import CfgNode
from ..d2.projects.deeplab import add_deeplab_config
from .backbones import BACKBONE_KEYS
from .clip import CLIP_KEYS
from .data import DATA_KEYS
from .dense import DENSE_KEYS
from .detectron2 import DETECTRON2_KEYS
from .devices import resolve_device
from .keys import Key, add_keys
from .methods import METHOD_KEYS
from .ovseg import OVSEG_KEYS
from .pixelclip import PIXELCLIP_KEYS
from .runs import RUN_KEYS

__all__ = ["KEYS", "add_ovseg_config"]

# By full name: the plugin's keys, and those of detectron2 that it reads.
KEYS: dict[str, Key] = {
    **DETECTRON2_KEYS,
    **CLIP_KEYS,
    **BACKBONE_KEYS,
    **METHOD_KEYS,
    **PIXELCLIP_KEYS,
    **DENSE_KEYS,
    **OVSEG_KEYS,
    **DATA_KEYS,
    **RUN_KEYS,
}


def add_ovseg_config(cfg: CfgNode) -> None:
    """Add the plugin's keys to a config from ``get_cfg()``, in place."""
    # Keys of detectron2's DeepLab project: the ResNet with the stem of three convolutions.
    add_deeplab_config(cfg)
    add_keys(cfg, KEYS)
    cfg.MODEL.DEVICE = resolve_device("auto")
