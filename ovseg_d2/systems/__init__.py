"""The systems: one file each, built from parts, tensors in and tensors out."""

from .clip_pretrain import CLIPPretrain
from .maskclip import MaskCLIP

__all__ = ["CLIPPretrain", "MaskCLIP"]
