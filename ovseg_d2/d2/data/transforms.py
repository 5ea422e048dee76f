"""Geometric transforms, and the random augmentations that draw them."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.data.transforms import *
else:
    from detectron2.data.transforms import (
        AugInput,
        Augmentation,
        AugmentationList,
        CropTransform,
        HFlipTransform,
        NoOpTransform,
        RandomCrop,
        RandomCrop_CategoryAreaConstraint,
        RandomFlip,
        ResizeScale,
        ResizeShortestEdge,
        ResizeTransform,
        Transform,
        VFlipTransform,
    )
