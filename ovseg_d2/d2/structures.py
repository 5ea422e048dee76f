"""Padded image batches and the per-instance targets of one image."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.structures import BitMasks, Boxes, ImageList, Instances
else:
    from .standin.structures import BitMasks, Boxes, ImageList, Instances

__all__ = ["BitMasks", "Boxes", "ImageList", "Instances"]
