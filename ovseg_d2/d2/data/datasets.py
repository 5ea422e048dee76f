"""Listing a folder of images with its folder of label maps."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.data.datasets import load_sem_seg
else:
    from ..standin.data.datasets import load_sem_seg

__all__ = ["load_sem_seg"]
