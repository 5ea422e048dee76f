"""What detectron2's DeepLab project adds: config keys, poly schedule, ResNet-C backbone."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.projects.deeplab import (
        add_deeplab_config,
        build_lr_scheduler,
        build_resnet_deeplab_backbone,
    )
else:
    from ..standin.projects.deeplab import (
        add_deeplab_config,
        build_lr_scheduler,
        build_resnet_deeplab_backbone,
    )

__all__ = ["add_deeplab_config", "build_lr_scheduler", "build_resnet_deeplab_backbone"]
