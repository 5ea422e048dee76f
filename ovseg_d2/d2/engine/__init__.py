"""Training loops, hooks, the default trainer and predictor, and how a job starts."""

from .. import HAS_DETECTRON2
from . import hooks

if HAS_DETECTRON2:
    from detectron2.engine import (
        AMPTrainer,
        DefaultPredictor,
        DefaultTrainer,
        HookBase,
        SimpleTrainer,
        TrainerBase,
        create_ddp_model,
        default_argument_parser,
        default_setup,
        default_writers,
        launch,
    )
else:
    from ..standin.engine import (
        AMPTrainer,
        DefaultPredictor,
        DefaultTrainer,
        HookBase,
        SimpleTrainer,
        TrainerBase,
        create_ddp_model,
        default_argument_parser,
        default_setup,
        default_writers,
        launch,
    )

__all__ = [
    "AMPTrainer",
    "DefaultPredictor",
    "DefaultTrainer",
    "HookBase",
    "SimpleTrainer",
    "TrainerBase",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "default_writers",
    "hooks",
    "launch",
]
