"""Reading images and checking their sizes; the default augmentations of a config."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.data.detection_utils import (
        SizeMismatchError,
        build_augmentation,
        check_image_size,
        read_image,
    )
else:
    from ..standin.data.detection_utils import (
        SizeMismatchError,
        build_augmentation,
        check_image_size,
        read_image,
    )

__all__ = ["SizeMismatchError", "build_augmentation", "check_image_size", "read_image"]
