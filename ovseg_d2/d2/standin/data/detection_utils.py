"""Reading images and checking their sizes; the default augmentations of a config."""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..config import CfgNode
from ..utils.file_io import PathManager
from . import transforms as T

__all__ = ["SizeMismatchError", "build_augmentation", "check_image_size", "read_image"]


class SizeMismatchError(ValueError):
    """An image is not of the size that its dataset dict says."""


def read_image(file_name: str, format: str | None = None) -> np.ndarray:
    """Read an image, the way up that its EXIF orientation says.

    Args:
        file_name: local path, or any that ``PathManager`` opens.
        format: a mode of Pillow's, or "BGR". None keeps the file's mode.

    Returns:
        Read-only (H, W, C) uint8 in [0, 255] for "RGB", "BGR" and "L" (C = 1); for other modes
        what Pillow makes of them, (H, W) where the mode has a single channel.
    """
    with PathManager.open(file_name, "rb") as file:
        image = ImageOps.exif_transpose(Image.open(file))
        if format is not None:
            image = image.convert("RGB" if format == "BGR" else format)
        array = np.asarray(image)
    if format == "BGR":
        return array[:, :, ::-1]
    return array[:, :, np.newaxis] if format == "L" else array


def check_image_size(dataset_dict: dict[str, Any], image: np.ndarray) -> None:
    """Compare an image with its dict's ``width`` and ``height``, and fill in those it lacks.

    Args:
        dataset_dict: of the image; completed in place.
        image: (H, W) or (H, W, C), as read.

    Raises:
        SizeMismatchError: the dict tells another size.
    """
    height, width = image.shape[:2]
    expected = (dataset_dict.get("width", width), dataset_dict.get("height", height))
    if (width, height) != expected:
        file_name = dataset_dict.get("file_name")
        raise SizeMismatchError(
            f"Mismatched image shape{f' for image {file_name}' if file_name else ''}, got "
            f"{(width, height)}, expect {expected}. Please check the width/height in your "
            "annotation."
        )
    dataset_dict["width"], dataset_dict["height"] = width, height


def build_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """Build the default augmentations: a resize of the shorter side, and in training a flip.

    Args:
        cfg: whose ``INPUT`` is read.
        is_train: take the sizes of training, and flip.
    """
    if not is_train:
        return [T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, "choice")]
    augmentations: list[T.Augmentation] = [
        T.ResizeShortestEdge(
            cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
        )
    ]
    direction = cfg.INPUT.RANDOM_FLIP
    if direction != "none":
        augmentations.append(
            T.RandomFlip(horizontal=direction == "horizontal", vertical=direction == "vertical")
        )
    return augmentations
