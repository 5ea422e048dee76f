"""Losses of networks that predict hidden patches."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["check_temperature", "pixel_loss", "soft_code_loss", "soft_codes"]


def soft_code_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    center: Tensor | None = None,
) -> Tensor:
    """Cross entropy of a student's codes with a teacher's soft codes.

    Paper: [masked_distill_clip], the distillation loss: the online tokenizer and a softmax turn
    both features into soft codes, and the loss is their cross entropy at the hidden patches.
    Departs: the published facts give neither temperatures nor a center; these are those of [ibot].

    Args:
        student_logits: (M, P) floating, of M hidden patches and P codes.
        teacher_logits: (M, P); they get no gradient.
        student_temperature: divisor of the student's logits, above 0.
        teacher_temperature: divisor of the teacher's, above 0; a lower one gives harder targets.
        center: (P,), subtracted from the teacher's logits; None subtracts nothing.

    Returns:
        0-dim float32, the mean over the patches; 0 with zero gradients for M = 0.

    Raises:
        ValueError: logits of different shapes, or a temperature that is not positive.
    """
    if student_logits.shape != teacher_logits.shape or student_logits.dim() != 2:
        raise ValueError(
            f"student_logits {tuple(student_logits.shape)} and teacher_logits "
            f"{tuple(teacher_logits.shape)} must both be (M, P): compare the same patches and codes"
        )
    check_temperature("student_temperature", student_temperature)
    check_temperature("teacher_temperature", teacher_temperature)
    targets = soft_codes(teacher_logits, teacher_temperature, center)
    log_probs = (student_logits.float() / student_temperature).log_softmax(dim=-1)
    return -(targets * log_probs).sum() / max(len(targets), 1)


def soft_codes(
    teacher_logits: Tensor, temperature: float = 0.04, center: Tensor | None = None
) -> Tensor:
    """Soft codes of teacher logits: (M, P) float32 without gradient, see `soft_code_loss`."""
    logits = teacher_logits.detach().float()
    logits = logits if center is None else logits - center
    return (logits / temperature).softmax(dim=-1)


def pixel_loss(pred_pixels: Tensor, gt_pixels: Tensor) -> Tensor:
    """Mean squared error of predicted patches.

    Paper: [mae] Sec. 3; [masked_distill_clip] compares pixels with other targets.

    Args:
        pred_pixels: (M, E) floating, of M hidden patches.
        gt_pixels: (M, E).

    Returns:
        0-dim float32; 0 with zero gradients for M = 0.

    Raises:
        ValueError: the shapes differ.
    """
    if pred_pixels.shape != gt_pixels.shape:
        raise ValueError(
            f"pred_pixels {tuple(pred_pixels.shape)} and gt_pixels {tuple(gt_pixels.shape)} must "
            "be of one shape: compare the same patches"
        )
    total = F.mse_loss(pred_pixels.float(), gt_pixels.float(), reduction="sum")
    return total / max(gt_pixels.numel(), 1)


def check_temperature(name: str, value: float) -> None:
    """Refuse a temperature that is not positive.

    Raises:
        ValueError: it is not.
    """
    if not value > 0:
        raise ValueError(f"{name} is {value}; give a positive number, such as 0.1")
