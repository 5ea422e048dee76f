"""The configuration tree: defaults, YAML files with a base, construction from a config."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.config import CfgNode, configurable, get_cfg
else:
    from .standin.config import *
