"""Mask files in SA-1B's format: one JSON file of COCO run lengths per image.

Also read are the list of SAM's automatic mask generator, saved as JSON, and COCO's polygons in
place of run lengths. Written files have SA-1B's entries except SAM's scores, and "info" with how
the masks were made.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_d2.files import shorten_stem, write_atomically
from ovseg_d2.json_files import describe_problem, printable, read_json, shorten
from ovseg_d2.masks.rle import encode_masks
from ovseg_d2.masks.segmentations import array_size, decode_masks

__all__ = ["MaskFileError", "mask_file_name", "read_info", "read_masks", "write_masks"]

# Bytes of a file name before ".json".
_MAX_STEM = 250
_MAKE_AGAIN = "make it again: remove it and run tools/generate_masks.py"
_FORMATS = "give a file in SA-1B's format or SAM's list, one file per image"
_CHECK = "check the path and its permissions"
_MAX_FILE = 2**29  # bytes
_MAX_PIXELS = 2**28  # of an image, as for image files


class MaskFileError(ValueError):
    """A mask file cannot be read; the text names the file, the problem and the remedy."""


def mask_file_name(file_name: str | os.PathLike[str]) -> str:
    """Name of an image's mask file: ``a/b.jpg`` -> ``b.json``.

    Virtual names count as a whole: ``shapes://val/0/3`` -> ``shapes_val_0_3.json``. Names too long
    for file systems are shortened, see `shorten_stem`.
    """
    name = os.fspath(file_name)
    stem = name.replace("://", "/").replace("/", "_") if "://" in name else Path(name).stem
    return shorten_stem(stem, _MAX_STEM) + ".json"


def read_masks(
    path: str | os.PathLike[str], image_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read the masks of one image.

    Args:
        path: a JSON file: an object with a list ``annotations``, or that list alone. The
            ``segmentation`` of each entry has one of the forms of `decode_masks`.
        image_size: (H, W) of the image, if known; masks of another size are refused.

    Returns:
        (Q, H, W) bool in the file's order; Q may be 0.

    Raises:
        MaskFileError: the file is missing, empty, truncated or of another format, the masks do
            not have the size of their image, or a mask does not decode.
    """
    content = _read(path)
    annotations = content["annotations"]
    masks = [entry.get("segmentation") for entry in annotations if isinstance(entry, dict)]
    if len(masks) < len(annotations):
        raise _error(path, "an entry of its 'annotations' is not an object", _FORMATS)
    size = _size(path, content.get("image"), masks, image_size)
    if image_size is not None and size != tuple(image_size):
        raise _error(
            path,
            f"its masks are {size[0]} x {size[1]} pixels (height x width) and the image is "
            f"{image_size[0]} x {image_size[1]}",
            "pair each image with its own masks, or make them again",
        )
    try:
        return decode_masks(masks, size)
    except ValueError as error:
        raise _error(path, f"mask {error}", _MAKE_AGAIN) from error


def read_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read how the masks of a file were made, ``info`` of `write_masks`; {} if unknown.

    Raises:
        MaskFileError: the file is missing, empty, truncated or of another format.
    """
    info = _read(path).get("info")
    return info if isinstance(info, dict) else {}


def write_masks(
    path: str | os.PathLike[str],
    masks: np.ndarray,
    *,
    file_name: str = "",
    info: Mapping[str, Any] | None = None,
) -> None:
    """Write the masks of one image; the file appears whole or not at all.

    Args:
        path: the JSON file.
        masks: (Q, H, W) bool; Q may be 0.
        file_name: of the image, kept in the file.
        info: how the masks were made, as JSON values, kept in the file.

    Raises:
        ValueError: masks of another shape or type.
        WriteError: the file cannot be written.
    """
    if masks.ndim != 3 or masks.dtype != np.bool_ or 0 in masks.shape[1:]:
        raise ValueError(
            f"masks are {masks.shape} of {masks.dtype}; give (Q, H, W) of bool, H and W at least 1"
        )
    height, width = masks.shape[1:]
    annotations = [
        {"id": number, "segmentation": rle, "bbox": _box(mask), "area": int(mask.sum())}
        for number, (mask, rle) in enumerate(zip(masks, encode_masks(masks), strict=True))
    ]
    image = {
        "image_id": Path(path).stem,
        "width": width,
        "height": height,
        "file_name": file_name,
    }
    content = {"image": image, "annotations": annotations, "info": dict(info or {})}
    text = json.dumps(content)
    with write_atomically(path, "w") as file:
        file.write(text)


def _box(mask: np.ndarray) -> list[int]:
    """COCO's box: left, top, width and height in pixels, all 0 for an empty mask."""
    if not mask.any():
        return [0, 0, 0, 0]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        content = read_json(path, max_bytes=_MAX_FILE)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        remedy = "make it with tools/generate_masks.py, or correct the path" if missing else _CHECK
        raise _error(path, describe_problem(error), remedy) from error
    except ValueError as error:
        empty = str(error).startswith("it is empty")
        problem = "it is empty" if empty else f"it is truncated or not JSON ({error})"
        raise _error(path, problem, _MAKE_AGAIN) from error
    if isinstance(content, list):
        content = {"annotations": content}
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise _error(path, "it has no list 'annotations'", _FORMATS)
    return content


def _size(
    path: str | os.PathLike[str],
    image: object,
    masks: list[Any],
    image_size: tuple[int, int] | None,
) -> tuple[int, int]:
    """(H, W) of the file's image entry, else of its first mask, else ``image_size``."""
    size: object = image_size
    first = masks[0] if masks else None
    if isinstance(image, dict) and "height" in image and "width" in image:
        size = (image["height"], image["width"])
    elif isinstance(first, dict) and isinstance(first.get("size"), list):
        size = tuple(first["size"])
    elif array_size(first) is not None:
        size = array_size(first)
    match size:
        case (int(height), int(width)) if (
            0 < height and 0 < width and height * width <= _MAX_PIXELS
        ):
            return int(height), int(width)
    remedy = f"it needs 'height' and 'width' under 'image', at most {_MAX_PIXELS} pixels in all"
    raise _error(path, f"the size of its image is {shorten(size)}", remedy)


def _error(path: str | os.PathLike[str], problem: str, remedy: str) -> MaskFileError:
    return MaskFileError(f"cannot read masks from {printable(path)}: {problem}; {remedy}")
