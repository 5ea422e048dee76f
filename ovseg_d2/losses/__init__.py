"""Losses of the systems, as pure functions of tensors."""

from .contrastive import contrastive_loss, gather_with_grad
from .masked_bce import masked_bce_loss

__all__ = ["contrastive_loss", "gather_with_grad", "masked_bce_loss"]
