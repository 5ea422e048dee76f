"""The config keys of detectron2's DeepLab project; registers its ResNet backbone."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.projects.deeplab import *
else:
    from detectron2.projects.deeplab import add_deeplab_config
