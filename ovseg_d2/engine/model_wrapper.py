"""The base of modules that an evaluation runs in place of a model."""

from typing import Any

from torch import nn

__all__ = ["ModelWrapper"]


class ModelWrapper(nn.Module):
    """Takes batched input dicts as the model does, and computes its outputs with the model.

    It starts in the model's mode, because an evaluation restores the mode it has found.
    """

    def __init__(self, model: Any) -> None:
        """Hold the model."""
        super().__init__()
        self.model = model
        self.train(model.training)
