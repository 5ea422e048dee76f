"""The moving average of a network's weights."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["update_ema"]


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move each parameter of the teacher towards the student's, in place.

    Paper: [pixelclip] Sec. 3.3, momentum encoder: teacher <- m * teacher + (1 - m) * student.
    Departs: buffers, whether numbers or counters, are copied; the release leaves them behind.

    The sum is formed in the teacher's own dtype: keep a teacher in float32, for in half precision
    the steps of a momentum near 1 are lost to rounding.

    Args:
        teacher: changed; its gradient flags stay as they are.
        student: of the same parameters and buffers by name and shape; read only.
        momentum: m in [0, 1]; 0 copies the student, 1 keeps the teacher's parameters.

    Raises:
        ValueError: a momentum out of range, or modules that differ in names or shapes.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum}; give a number from 0 to 1")
    own, others = dict(teacher.named_parameters()), dict(student.named_parameters())
    own_buffers, other_buffers = dict(teacher.named_buffers()), dict(student.named_buffers())
    shapes = {name: value.shape for name, value in (own | own_buffers).items()}
    if shapes != {name: value.shape for name, value in (others | other_buffers).items()}:
        raise ValueError(
            "teacher and student differ in the names or shapes of their weights; make the teacher "
            "a deep copy of the student"
        )
    for name, value in own.items():
        value.mul_(momentum).add_(others[name].to(value), alpha=1 - momentum)
    for name, buffer in own_buffers.items():
        buffer.copy_(other_buffers[name])
