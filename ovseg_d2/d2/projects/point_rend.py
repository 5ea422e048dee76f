"""What the plugin uses of detectron2's PointRend project: SSD colour augmentation."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.projects.point_rend import ColorAugSSDTransform
else:
    from ..standin.projects.point_rend import ColorAugSSDTransform

__all__ = ["ColorAugSSDTransform"]
