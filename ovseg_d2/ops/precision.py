"""The dtype of computations that half precision would spoil."""

import torch
from torch import Tensor

__all__ = ["at_least_float32"]


def at_least_float32(values: Tensor) -> Tensor:
    """Convert floating values of any shape to float32; float32 and float64 do not change."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
