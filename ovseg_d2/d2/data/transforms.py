"""Geometric transforms, and the random augmentations that draw them."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.data.transforms import (
        AugInput,
        Augmentation,
        AugmentationList,
        CropTransform,
        FixedSizeCrop,
        HFlipTransform,
        NoOpTransform,
        PadTransform,
        RandomCrop,
        RandomCrop_CategoryAreaConstraint,
        RandomFlip,
        Resize,
        ResizeShortestEdge,
        ResizeTransform,
        Transform,
        TransformList,
        VFlipTransform,
        apply_transform_gens,
    )
else:
    from ..standin.data.transforms import (
        AugInput,
        Augmentation,
        AugmentationList,
        CropTransform,
        FixedSizeCrop,
        HFlipTransform,
        NoOpTransform,
        PadTransform,
        RandomCrop,
        RandomCrop_CategoryAreaConstraint,
        RandomFlip,
        Resize,
        ResizeShortestEdge,
        ResizeTransform,
        Transform,
        TransformList,
        VFlipTransform,
        apply_transform_gens,
    )

__all__ = [
    "AugInput",
    "Augmentation",
    "AugmentationList",
    "CropTransform",
    "FixedSizeCrop",
    "HFlipTransform",
    "NoOpTransform",
    "PadTransform",
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomFlip",
    "Resize",
    "ResizeShortestEdge",
    "ResizeTransform",
    "Transform",
    "TransformList",
    "VFlipTransform",
    "apply_transform_gens",
]
