"""Norm layers by name, shapes of features."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.layers import ShapeSpec, get_norm
else:
    from .standin.layers import *
