"""Images, label maps, captions and classes by file name, real or of the Shapes world."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from . import shapes
from .images import DECODE_ERRORS, check_sides, known_formats, read_image

__all__ = ["LabelFileError", "read_captions", "read_category", "read_image_of", "read_labels"]


class LabelFileError(ValueError):
    """A label file cannot be read: one sentence with the file, the problem and the remedy."""


def read_image_of(file_name: str | os.PathLike[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a file or of a ``shapes://`` name.

    Raises:
        ImageReadError: see :func:`~.images.read_image`.
        ValueError: a wrong ``shapes://`` name.
    """
    if shapes.is_shapes_name(str(file_name)):
        return shapes.read_image(str(file_name))
    return read_image(file_name)


def read_labels(
    file_name: str | os.PathLike[str],
    dtype: type | str | np.dtype = np.int64,
    *,
    colors: bool = False,
) -> np.ndarray:
    """(H, W) unchanged values of a label file or of a ``shapes://`` name.

    The function fits detectron2's ``sem_seg_loading_fn``; `LabelReader` decodes the values.

    Args:
        file_name: a single-channel image (1 to 32 bits, greyscale or palette), or virtual.
        dtype: of the result.
        colors: accept colour files, too.

    Returns:
        (H, W); (H, W, 3) RGB of a colour file.

    Raises:
        FileNotFoundError: the file does not exist.
        LabelFileError: not an image, or an image with several channels or fractions.
    """
    if shapes.is_shapes_name(str(file_name)):
        return shapes.read_labels(str(file_name)).astype(dtype)
    if not os.path.isfile(file_name):
        raise FileNotFoundError(
            f"label file {os.fspath(file_name)!r} does not exist; check the dataset's "
            "sem_seg_file_name entries"
        )
    try:
        formats = known_formats()
        with Image.open(file_name, formats=formats) as image:
            if image.format == "PNG":
                image.verify()  # loading does not check the last checksum
        with Image.open(file_name, formats=formats) as image:
            check_sides(Path(file_name), image)
            largest = _largest_value(image)
            mode, labels = image.mode, np.asarray(image)
    except (Image.DecompressionBombError, MemoryError, *DECODE_ERRORS) as error:
        raise LabelFileError(
            f"label file {os.fspath(file_name)!r} cannot be read "
            f"({str(error) or 'it needs more memory than there is'}); "
            "write it again as a single-channel PNG or TIFF"
        ) from error
    if colors and _is_opaque_rgb(mode, labels):
        return labels[..., :3].astype(dtype)
    if labels.ndim != 2 or labels.dtype.kind == "f":
        raise LabelFileError(
            f"label file {os.fspath(file_name)!r} has shape {labels.shape} and dtype "
            f"{labels.dtype}; label maps have one channel that holds class ids, whole numbers, or "
            "RGB colours that the metadata's label_palette names"
        )
    if largest:  # Pillow has scaled the values to 8 or 16 bits
        labels = np.rint(labels.astype(np.float64) * largest / (65535 if mode == "I" else 255))
    return labels.astype(dtype)


def _largest_value(image: Image.Image) -> int:
    """Largest possible value of a greyscale file whose values Pillow scales on loading; else 0.

    These are PNG and TIFF of 2 and 4 bits, and PGM, which states any largest value.
    """
    if not image.tile or image.mode not in ("L", "I"):
        return 0
    args = image.tile[0].args
    if image.format == "PPM":
        return args[-1] if isinstance(args, tuple) and isinstance(args[-1], int) else 0
    raw_mode = str(args[0] if isinstance(args, tuple) and args else args)
    return {"L;2": 3, "L;4": 15}.get(raw_mode[:3], 0)


def _is_opaque_rgb(mode: str, pixels: np.ndarray) -> bool:
    return mode == "RGB" or (mode == "RGBA" and bool((pixels[..., 3] == 255).all()))


def read_captions(dataset_dict: Mapping[str, Any]) -> Sequence[str]:
    """Captions of a dataset's entry: its ``captions``, or those of a Shapes world's image.

    Raises:
        ValueError: the entry has no list of captions.
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
    """Class id of a dataset's entry: its ``category_id``, or that of a Shapes world's crop.

    Raises:
        ValueError: the entry has no class.
    """
    name, category = dataset_dict["file_name"], dataset_dict.get("category_id")
    if category is None and shapes.is_shapes_name(name):
        return shapes.read_crop(name)[1]
    if not isinstance(category, int):
        raise ValueError(f"{name}: its class is {category!r}; add a class id under 'category_id'")
    return category
