"""Registries and builders of models, backbones and heads; the ResNet backbone."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.modeling import (
        BACKBONE_REGISTRY,
        META_ARCH_REGISTRY,
        SEM_SEG_HEADS_REGISTRY,
        Backbone,
        build_backbone,
        build_model,
        build_resnet_backbone,
        build_sem_seg_head,
    )
    from detectron2.modeling.postprocessing import sem_seg_postprocess
else:
    from .standin.modeling import (
        BACKBONE_REGISTRY,
        META_ARCH_REGISTRY,
        SEM_SEG_HEADS_REGISTRY,
        Backbone,
        build_backbone,
        build_model,
        build_resnet_backbone,
        build_sem_seg_head,
        sem_seg_postprocess,
    )

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
