"""Training and evaluation: trainer, optimizer, schedule, checkpoints, logs and processes."""

from .evaluate import evaluate
from .optimizer import build_optimizer
from .schedule import build_lr_scheduler
from .trainer import Trainer

__all__ = ["Trainer", "build_lr_scheduler", "build_optimizer", "evaluate"]
