"""Training loops and hooks, the default trainer and predictor, and how a job starts."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.engine.defaults import *
    from .standin.engine.launch import *
    from .standin.engine.predictor import *
    from .standin.engine.setup import *
    from .standin.engine.train_loop import *
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
