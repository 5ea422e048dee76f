"""The systems: one file each, built from parts, tensors in and tensors out."""

from ovseg_d2.systems.maskclip import MaskCLIP

__all__ = ["MaskCLIP"]
