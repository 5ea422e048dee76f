"""Convolution with norm and activation, norm layers by name, shapes of features."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.layers import Conv2d, FrozenBatchNorm2d, ShapeSpec, get_norm
else:
    from .standin.layers import Conv2d, FrozenBatchNorm2d, ShapeSpec, get_norm

__all__ = ["Conv2d", "FrozenBatchNorm2d", "ShapeSpec", "get_norm"]
