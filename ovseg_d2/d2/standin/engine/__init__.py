"""Training loops, the default trainer and predictor, and how a job starts."""

from .defaults import DefaultTrainer
from .launch import launch
from .predictor import DefaultPredictor
from .setup import default_setup
from .train_loop import AMPTrainer, HookBase, SimpleTrainer, TrainerBase

__all__ = [
    "AMPTrainer",
    "DefaultPredictor",
    "DefaultTrainer",
    "HookBase",
    "SimpleTrainer",
    "TrainerBase",
    "default_setup",
    "launch",
]
