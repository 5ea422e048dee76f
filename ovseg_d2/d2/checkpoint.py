"""Saving, loading and resuming; saving at intervals."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.checkpoint import DetectionCheckpointer, PeriodicCheckpointer
else:
    from .standin.checkpoint import DetectionCheckpointer, PeriodicCheckpointer

__all__ = ["DetectionCheckpointer", "PeriodicCheckpointer"]
