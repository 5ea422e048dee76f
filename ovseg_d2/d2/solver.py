"""Gradient clipping and learning-rate schedules from a config."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.solver import *
else:
    from detectron2.solver import LRMultiplier, WarmupParamScheduler, build_lr_scheduler
    from detectron2.solver.build import maybe_add_gradient_clipping
