"""Pictures and label maps by file name, be it a real file or one of the Shapes world."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from . import shapes
from .images import read_image

__all__ = ["read_captions", "read_category", "read_labels", "read_picture"]


def read_picture(file_name: str | os.PathLike[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file or of a ``shapes://`` name.

    Raises:
        ImageReadError: see :func:`~.images.read_image`.
        ValueError: a ``shapes://`` name that is not one.
    """
    if shapes.is_shapes_name(str(file_name)):
        return shapes.read_image(str(file_name))
    return read_image(file_name)


def read_labels(
    file_name: str | os.PathLike[str], dtype: type | str | np.dtype = np.int64
) -> np.ndarray:
    """(H, W) class ids of a label file or of a ``shapes://`` name.

    Fits detectron2's ``sem_seg_loading_fn``.

    Args:
        file_name: a single-channel picture (8 or 16 bits, greyscale or palette), or virtual.
        dtype: of the result.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a picture, or one with several channels or fractions.
    """
    if shapes.is_shapes_name(str(file_name)):
        return shapes.read_labels(str(file_name)).astype(dtype)
    if not os.path.isfile(file_name):
        raise FileNotFoundError(
            f"label file {os.fspath(file_name)!r} does not exist; check the dataset's "
            "sem_seg_file_name entries"
        )
    try:
        with Image.open(file_name) as picture:
            labels = np.asarray(picture)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise ValueError(
            f"label file {os.fspath(file_name)!r} cannot be read ({error}); "
            "write it again as a single-channel PNG or TIFF"
        ) from error
    if labels.ndim != 2 or labels.dtype.kind == "f":
        raise ValueError(
            f"label file {os.fspath(file_name)!r} has shape {labels.shape} and dtype "
            f"{labels.dtype}; label maps have one channel that holds class ids, whole numbers"
        )
    return labels.astype(dtype)


def read_captions(dataset_dict: Mapping[str, Any]) -> Sequence[str]:
    """The captions of a dataset's entry: its ``captions``, or those of the Shapes world's picture.

    Raises:
        ValueError: it has no list of captions.
    """
    name, captions = dataset_dict["file_name"], dataset_dict.get("captions")
    if captions is None and shapes.is_shapes_name(name):
        captions = shapes.read_captions(name)
    if not captions or isinstance(captions, str):
        raise ValueError(
            f"{name}: its captions are {captions!r}; add a list of texts under 'captions'"
        )
    return captions


def read_category(dataset_dict: Mapping[str, Any]) -> int:
    """The class of a dataset's entry: its ``category_id``, or that of the Shapes world's crop.

    Raises:
        ValueError: it has none.
    """
    name, category = dataset_dict["file_name"], dataset_dict.get("category_id")
    if category is None and shapes.is_shapes_name(name):
        return shapes.read_crop(name)[1]
    if not isinstance(category, int):
        raise ValueError(
            f"{name}: its class is {category!r}; add the number of a class under 'category_id'"
        )
    return category
