"""How a config names a whole model; the registry of segmentation heads."""

import torch
from fvcore.common.registry import Registry
from torch import nn

from ..config import CfgNode

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
