"""Registries and builders of models, backbones and heads; the ResNet backbone."""

from .backbone import BACKBONE_REGISTRY, Backbone, build_backbone
from .meta_arch import (
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    build_model,
    build_sem_seg_head,
)
from .postprocessing import sem_seg_postprocess
from .resnet import build_resnet_backbone

__all__ = [
    "BACKBONE_REGISTRY",
    "META_ARCH_REGISTRY",
    "SEM_SEG_HEADS_REGISTRY",
    "Backbone",
    "build_backbone",
    "build_model",
    "build_resnet_backbone",
    "build_sem_seg_head",
    "sem_seg_postprocess",
]
