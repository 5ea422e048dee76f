"""The configuration tree: defaults, YAML files with a base, construction from a config."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.config import *
else:
    from detectron2.config import CfgNode, configurable, get_cfg
