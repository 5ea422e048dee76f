"""Saving, loading and resuming."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.checkpoint import *
else:
    from detectron2.checkpoint import DetectionCheckpointer
