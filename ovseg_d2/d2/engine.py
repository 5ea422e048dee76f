"""Training loops and hooks, the default trainer and predictor, and how a job starts."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.engine import *
else:
    from detectron2.engine import (
        AMPTrainer,
        DefaultPredictor,
        DefaultTrainer,
        HookBase,
        SimpleTrainer,
        TrainerBase,
        default_setup,
        launch,
    )
