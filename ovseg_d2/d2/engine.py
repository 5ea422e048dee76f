"""Training loops and hooks, the default trainer and predictor, and how a job starts."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.engine import (
        AMPTrainer,
        DefaultPredictor,
        DefaultTrainer,
        HookBase,
        SimpleTrainer,
        TrainerBase,
        default_argument_parser,
        default_setup,
        launch,
    )
else:
    from .standin.engine import *
