"""Numbers that half precision would spoil."""

import torch
from torch import Tensor

__all__ = ["at_least_float32"]


def at_least_float32(values: Tensor) -> Tensor:
    """Give half precision as float32; float32 and float64 stay as they are.

    Args:
        values: floating, of any shape.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))
