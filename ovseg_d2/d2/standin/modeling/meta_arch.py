"""How a config names a whole model and its segmentation head."""

import torch
from torch import nn

from ..config import CfgNode
from ..layers import ShapeSpec
from ..utils.registry import Registry

# Of classes or functions called with (cfg) that give an nn.Module.
META_ARCH_REGISTRY = Registry("META_ARCH")
# Of classes or functions called with (cfg, input_shape: dict of ShapeSpec).
SEM_SEG_HEADS_REGISTRY = Registry("SEM_SEG_HEADS")


def build_model(cfg: CfgNode) -> nn.Module:
    """Build the model that ``cfg.MODEL.META_ARCHITECTURE`` names, on ``cfg.MODEL.DEVICE``.

    No weights are loaded. KeyError if no model of this name is registered.
    """
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    model.to(torch.device(cfg.MODEL.DEVICE))
    return model


def build_sem_seg_head(cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> nn.Module:
    """Build the head that ``cfg.MODEL.SEM_SEG_HEAD.NAME`` names.

    Args:
        cfg: the configuration.
        input_shape: the backbone's ``output_shape()``.

    Raises:
        KeyError: no head of this name is registered.
    """
    return SEM_SEG_HEADS_REGISTRY.get(cfg.MODEL.SEM_SEG_HEAD.NAME)(cfg, input_shape)
