"""Pictures and label maps by file name, be it a real file or one of the Shapes world."""

import os

import numpy as np
from PIL import Image, UnidentifiedImageError

from . import shapes
from .images import read_image

__all__ = ["read_labels", "read_picture"]


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
