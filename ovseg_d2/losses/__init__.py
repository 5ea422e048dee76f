"""Losses of the systems, as pure functions of tensors."""

from .contrastive import contrastive_loss, gather_with_grad

__all__ = ["contrastive_loss", "gather_with_grad"]
