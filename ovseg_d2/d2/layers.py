"""Norm layers by name, shapes of features."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.layers import *
else:
    from detectron2.layers import ShapeSpec, get_norm
