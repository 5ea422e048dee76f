"""Pictures and label maps by file name, be it a real file or one of the Shapes world."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from . import shapes
from .images import _DAMAGE, _FORMATS, read_image

__all__ = ["LabelFileError", "read_captions", "read_category", "read_labels", "read_picture"]


class LabelFileError(ValueError):
    """A label file cannot be read: one sentence with the file, what is wrong and the remedy."""


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
    file_name: str | os.PathLike[str],
    dtype: type | str | np.dtype = np.int64,
    *,
    colors: bool = False,
) -> np.ndarray:
    """(H, W) values of a label file or of a ``shapes://`` name, as they are in the file.

    Fits detectron2's ``sem_seg_loading_fn``. `LabelReader` makes class ids of the values.

    Args:
        file_name: a single-channel image (1 to 32 bits, greyscale or palette), or virtual.
        dtype: of the result.
        colors: accept files in colour, too.

    Returns:
        (H, W); of a file in colour (H, W, 3), its RGB.

    Raises:
        FileNotFoundError: no such file.
        LabelFileError: not an image, or one with several channels or fractions.
    """
    if shapes.is_shapes_name(str(file_name)):
        return shapes.read_labels(str(file_name)).astype(dtype)
    if not os.path.isfile(file_name):
        raise FileNotFoundError(
            f"label file {os.fspath(file_name)!r} does not exist; check the dataset's "
            "sem_seg_file_name entries"
        )
    try:
        Image.init()
        # As of images: Pillow hands PostScript to an outside program.
        formats = [name for name in _FORMATS if name in Image.OPEN]
        with Image.open(file_name, formats=formats) as picture:
            if picture.format == "PNG":
                picture.verify()  # loading stops, without a word, before the last checksum
        with Image.open(file_name, formats=formats) as picture:
            most = _largest_value(picture)
            mode, labels = picture.mode, np.asarray(picture)
    except (Image.DecompressionBombError, *_DAMAGE) as error:
        raise LabelFileError(
            f"label file {os.fspath(file_name)!r} cannot be read ({error}); "
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
    if most:  # Pillow has brought the values to 8 or 16 bits
        labels = np.rint(labels.astype(np.float64) * most / (65535 if mode == "I" else 255))
    return labels.astype(dtype)


def _largest_value(picture: Image.Image) -> int:
    """The largest value of a greyscale file whose values Pillow scales when it loads them; or 0.

    PNG and TIFF have some of 2 and 4 bits; a PGM states any largest value.
    """
    if not picture.tile or picture.mode not in ("L", "I"):
        return 0
    args = picture.tile[0].args
    if picture.format == "PPM":
        return args[-1] if isinstance(args, tuple) and isinstance(args[-1], int) else 0
    raw_mode = str(args[0] if isinstance(args, tuple) and args else args)
    return {"L;2": 3, "L;4": 15}.get(raw_mode[:3], 0)


def _is_opaque_rgb(mode: str, pixels: np.ndarray) -> bool:
    return mode == "RGB" or (mode == "RGBA" and bool((pixels[..., 3] == 255).all()))


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
