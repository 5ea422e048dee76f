"""Training loops, hooks, the default trainer and predictor, and how a job starts."""

from . import hooks
from .defaults import DefaultTrainer, create_ddp_model, default_writers
from .launch import launch
from .predictor import DefaultPredictor
from .setup import default_argument_parser, default_setup
from .train_loop import AMPTrainer, HookBase, SimpleTrainer, TrainerBase

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
