"""Halving the masks of an image of SA-1B, in the fields of its files."""

from pathlib import Path
from typing import Any

from ...json_files import printable, shorten
from ...masks import decode_masks, encode_masks, nearest_pixels
from .name_lists import read_owner_json

__all__ = ["half_size", "halve_masks", "read_halved"]

_MOST_BYTES = 2**29
_MOST_PIXELS = 65535  # of a side, as for images
_BOXES = ("bbox", "crop_box")
_KEPT = ("id", "predicted_iou", "stability_score")
_FAR = 10**12  # numbers of SA-1B are smaller


def halve_masks(content: Any) -> dict[str, Any]:
    """Halve the masks of an image of SA-1B, by nearest pixels.

    Args:
        content: of its file: ``{"image": {"height", "width"}, "annotations": [{"segmentation",
            "bbox", "point_coords", "crop_box", "area"}]}``.

    Returns:
        The content with half the sides, rounded down, in SA-1B's fields; masks that vanish are
        left out. "info" says that it is halved.

    Raises:
        ValueError: another form, or a mask that does not decode; the text continues a file's name.
    """
    match content:
        case {
            "image": {"height": int(height), "width": int(width)} as image,
            "annotations": [*annotations],
        } if 0 < min(height, width) and max(height, width) <= _MOST_PIXELS:
            size = half_size(height, width)
        case _:
            raise ValueError("is not in SA-1B's format; unpack it again")
    halved = []
    for number, annotation in enumerate(annotations):
        try:
            if smaller := _halve_annotation(annotation, (height, width)):
                halved.append(smaller)
        except ValueError as error:
            reason = str(error).removeprefix("number 0 ")
            raise ValueError(f"is damaged: mask {number} {reason}; unpack it again") from error
        except (KeyError, TypeError) as error:
            raise ValueError(f"is damaged: mask {number} is no mask; unpack it again") from error
    names = {key: image[key] for key in ("image_id", "file_name") if _is_name(image.get(key))}
    image = {**names, "height": size[0], "width": size[1]}
    return {"image": image, "annotations": halved, "info": {"halved": True}}


def read_halved(path: Path) -> dict[str, Any]:
    """Read a file of SA-1B's masks, halved as by `halve_masks`.

    Raises:
        ValueError: the file cannot be read or used; the sentence names it.
    """
    content = read_owner_json(path, max_bytes=_MOST_BYTES)
    try:
        return halve_masks(content)
    except ValueError as error:
        raise ValueError(f"{printable(path)} {error}") from error


def half_size(height: int, width: int) -> tuple[int, int]:
    """Half of an image's sides, rounded down, at least 1."""
    return max(1, height // 2), max(1, width // 2)


def _halve_annotation(annotation: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    """Halve a mask and its coordinates; None if the mask vanishes."""
    new_size = half_size(*size)
    rows, columns = (nearest_pixels(old, new) for old, new in zip(size, new_size, strict=True))
    # All masks of an image at once would take some hundred megabytes.
    mask = decode_masks([annotation["segmentation"]], size)[0]
    mask = mask.T[columns].take(rows, axis=1).T[None]  # in memory, columns lie one after the other
    if not mask.any():
        return None
    factors = len(columns) / size[1], len(rows) / size[0]
    result = {key: annotation[key] for key in _KEPT if _is_number(annotation.get(key))}
    result |= {key: _scale(annotation[key], factors) for key in _BOXES if key in annotation}
    if "point_coords" in annotation:
        result["point_coords"] = [_scale(xy, factors) for xy in annotation["point_coords"]]
    return {**result, "segmentation": encode_masks(mask)[0], "area": int(mask.sum())}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _FAR


def _scale(numbers: Any, factors: tuple[float, float]) -> list[float]:
    """Scale x and y, which alternate."""
    if not all(map(_is_number, numbers)):
        raise ValueError(f"has the coordinates {shorten(numbers)}, which are no numbers")
    return [number * factors[at % 2] for at, number in enumerate(numbers)]
