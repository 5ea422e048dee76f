"""Drawing of label maps over pictures."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.utils.visualizer import ColorMode, Visualizer
else:
    from ..standin.utils.visualizer import ColorMode, Visualizer

__all__ = ["ColorMode", "Visualizer"]
