"""The exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["update_ema"]


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move every parameter of the teacher towards the student's, in place.

    Paper: [pixelclip] Sec. 3.3, momentum encoder: teacher <- m * teacher + (1 - m) * student.
    Departs: buffers are copied from the student; the release does not update them.

    The sum is formed in the teacher's dtype: keep a teacher in float32, because half precision
    rounds away the steps of a momentum near 1.

    Args:
        teacher: the network to change; its gradient flags do not change.
        student: a network with the same names and shapes of parameters and buffers.
        momentum: m in [0, 1]; 0 copies the student, 1 keeps the teacher's parameters.

    Raises:
        ValueError: a momentum out of range, or modules that differ in names or shapes.
    """
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum is {momentum}; give a number from 0 to 1")
    params, student_params = dict(teacher.named_parameters()), dict(student.named_parameters())
    buffers, student_buffers = dict(teacher.named_buffers()), dict(student.named_buffers())
    if _shapes(params | buffers) != _shapes(student_params | student_buffers):
        raise ValueError(
            "teacher and student differ in the names or shapes of their weights; make the teacher "
            "a deep copy of the student"
        )
    for name, value in params.items():
        value.mul_(momentum).add_(student_params[name].to(value), alpha=1 - momentum)
    for name, buffer in buffers.items():
        buffer.copy_(student_buffers[name])


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
