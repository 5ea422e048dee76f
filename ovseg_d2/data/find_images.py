"""The images that a command line names: files, datasets, or a part of the Shapes world."""

import os
import re
from collections.abc import Sequence

from ..d2.data import DatasetCatalog
from . import shapes
from .datasets import SHAPES_SIZES
from .images import list_images

__all__ = ["find_images"]

_SHAPES_RANGE = re.compile(r"shapes://(\w+)/(\d{1,100})/(?:(\d{1,100})-(\d{1,100}))?")
_MOST_SHAPES = 1_000_000


def find_images(inputs: Sequence[str]) -> list[str]:
    """Find the images that a command line names.

    Args:
        inputs: files, globs and folders as `list_images` takes them; names of registered datasets;
            and images of the Shapes world: one (``shapes://train/0/7``), some
            (``shapes://train/0/10-19``), or all of a split (``shapes://train/0/``).

    Returns:
        Their names in the order of the inputs, without repeats.

    Raises:
        ValueError: an entry names no images.
    """
    images: dict[str, str] = {}
    for item in inputs:
        if shapes.is_shapes_name(item):
            names = _shapes_names(item)
        elif item in DatasetCatalog.list():
            names = [entry["file_name"] for entry in DatasetCatalog.get(item)]
        else:
            names = [str(path) for path in list_images([item])]
        for name in names:
            images.setdefault(name if shapes.is_shapes_name(name) else os.path.abspath(name), name)
    return list(images.values())


def _shapes_names(item: str) -> list[str]:
    match = _SHAPES_RANGE.fullmatch(item)
    if match is None:
        shapes.parse_name(item)
        return [item]
    split, seed, first, last = match.groups()
    if split not in SHAPES_SIZES or (first and int(first) > int(last)):
        raise ValueError(
            f"{item[:200]!r} names no images of the Shapes world; write "
            f"shapes://SPLIT/SEED/FIRST-LAST with SPLIT one of {', '.join(SHAPES_SIZES)}, or end "
            "with the slash for the whole split"
        )
    if first and int(last) - int(first) >= _MOST_SHAPES:
        raise ValueError(
            f"{item!r} names {int(last) - int(first) + 1} images of the Shapes world; name at "
            f"most {_MOST_SHAPES} at once"
        )
    numbers = range(int(first), int(last) + 1) if first else range(SHAPES_SIZES[split])
    return [shapes.format_name(split, int(seed), number) for number in numbers]
