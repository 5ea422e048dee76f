"""Saving, loading and resuming."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.checkpoint import DetectionCheckpointer
else:
    from .standin.checkpoint import *
