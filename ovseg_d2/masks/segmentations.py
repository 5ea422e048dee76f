"""Decoding of masks in the formats of other tools: run lengths, polygons, arrays.

COCO's ``segmentation`` is run lengths or a list of polygons. SAM's automatic mask generator gives
an array of the image's size, in JSON a list of rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ovseg_d2.json_files import shorten
from ovseg_d2.masks.rle import decode_rle

__all__ = ["array_size", "decode_masks"]

_MAX_BYTES = 2**33  # of the masks of one image
# pycocotools draws edges in fifths of a pixel and does not check that memory suffices.
_MAX_EDGES = 2**22  # pixels, all edges of a mask together


def decode_masks(segmentations: Sequence[object], size: tuple[int, int]) -> np.ndarray:
    """Decode masks of one image.

    Args:
        segmentations: Q masks in any of these forms: ``{"size": [H, W], "counts": ...}``, see
            `decode_rle`; a list of polygons ``[x, y, x, y, ...]`` in pixels from the top left
            corner of the image, whose union is the mask; (H, W) bool or 0 and 1, as an array or a
            list of rows.
        size: expected (H, W).

    Returns:
        (Q, H, W) bool.

    Raises:
        ValueError: a mask of another form or size, run lengths that do not fill the image, or
            invalid polygons; the text begins with the mask's number.
    """
    height, width = size
    if len(segmentations) * height * width > _MAX_BYTES:
        raise ValueError(
            f"number {len(segmentations) - 1} is one too many: {len(segmentations)} of {height} x "
            f"{width} pixels take more than {_MAX_BYTES >> 30} GiB"
        )
    # Run lengths go down the columns: writing is fastest in this memory order.
    masks = np.zeros((len(segmentations), width, height), dtype=bool).transpose(0, 2, 1)
    for number, segmentation in enumerate(segmentations):
        try:
            masks[number] = _decode(segmentation, size)
        except ValueError as error:
            raise ValueError(f"number {number} {error}") from error
    return masks


def array_size(segmentation: object) -> tuple[int, int] | None:
    """(H, W) of a mask that is an array or a list of rows of bool; None for other forms."""
    if isinstance(segmentation, np.ndarray) and segmentation.ndim == 2:
        return segmentation.shape[0], segmentation.shape[1]
    match segmentation:
        case [[bool(), *_] as row, *_]:
            return len(segmentation), len(row)
    return None


def _decode(segmentation: object, size: tuple[int, int]) -> np.ndarray:
    array = array_size(segmentation)
    if array is not None and array != size:
        raise ValueError(f"is an array of {list(array)} pixels instead of {list(size)}")
    if isinstance(segmentation, Mapping) or not isinstance(segmentation, list | np.ndarray):
        return decode_rle(segmentation, size)
    if array is not None or _has_rows(segmentation, size):
        mask = np.array(segmentation)
        if mask.shape == size and mask.dtype.kind in "biuf" and np.isin(mask, (0, 1)).all():
            return mask.astype(bool)
        if array is not None:
            raise ValueError("is an array with other values than 0 and 1")
    return _decode_polygons(segmentation, size)


def _has_rows(rows: Any, size: tuple[int, int]) -> bool:
    """Whether a list has H rows of W numbers; polygons hardly ever do."""
    return len(rows) == size[0] and all(
        isinstance(row, list) and len(row) == size[1] and all(type(x) in (int, float) for x in row)
        for row in rows
    )


def _decode_polygons(polygons: Any, size: tuple[int, int]) -> np.ndarray:
    if isinstance(polygons, np.ndarray) or not polygons:
        raise ValueError(f"is {shorten(polygons)} instead of polygons, runs or an (H, W) array")
    edges = 0.0
    for polygon in polygons:
        edges += _check_polygon(polygon, size)
    if edges > _MAX_EDGES:
        raise ValueError(f"has polygons whose edges are {edges:.0f} pixels long")
    return decode_rle(coco_mask.merge(coco_mask.frPyObjects(polygons, *size)), size)


def _check_polygon(polygon: Any, size: tuple[int, int]) -> float:
    """Check a polygon and return the length of its edges in pixels, by the larger of x and y."""
    numbers = isinstance(polygon, list) and all(type(x) in (int, float) for x in polygon)
    if not numbers or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError(
            f"has the polygon {shorten(polygon)}; a polygon is [x, y, x, y, x, y, ...]"
        )
    # At most one image size beyond each border; the comparison is also False for NaN.
    most = max(size)
    for number in polygon:
        if not -most <= number <= 2 * most:
            raise ValueError(
                f"has a polygon with the coordinate {shorten(number)}, far outside of an image of "
                f"{size[0]} x {size[1]} pixels"
            )
    points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    steps = np.abs(points - np.roll(points, 1, axis=0))
    return float(steps.max(axis=1).sum())
