"""The configuration tree and the construction of objects from it."""

from .cfg_node import CfgNode, get_cfg
from .from_config import configurable

__all__ = ["CfgNode", "configurable", "get_cfg"]
