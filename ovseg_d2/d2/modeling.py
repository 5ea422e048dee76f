"""Registries and builders of models, backbones and heads; registers the ResNet backbone."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.modeling import *
else:
    from detectron2.modeling import (
        BACKBONE_REGISTRY,
        META_ARCH_REGISTRY,
        SEM_SEG_HEADS_REGISTRY,
        Backbone,
        build_backbone,
        build_model,
    )
