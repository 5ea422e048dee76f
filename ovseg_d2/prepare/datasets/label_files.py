"""Writing label files, and mapping the ids of a dataset's owner to class ids."""

from pathlib import Path

import numpy as np
from PIL import Image

from ...data.readers import read_labels
from ...files import write_atomically
from ...json_files import printable

__all__ = ["NO_CLASS", "convert_labels", "map_ids", "write_labels"]

NO_CLASS = -1  # in a table: an id that the owner's files do not have
_FORMATS = {".png": "PNG", ".tif": "TIFF"}


def map_ids(values: np.ndarray, table: np.ndarray, file_name: Path) -> np.ndarray:
    """Replace each id by its entry of a table.

    Args:
        values: (H, W) integers.
        table: (N,) new id of each old one, or `NO_CLASS`.
        file_name: of the values, for the error.

    Returns:
        (H, W) of the table's dtype.

    Raises:
        ValueError: an id without an entry.
    """
    present = np.unique(values)
    inside = (present >= 0) & (present < len(table))
    unknown = present[~inside | (table[np.where(inside, present, 0)] == NO_CLASS)]
    if unknown.size:
        raise ValueError(
            f"{printable(file_name)} holds the id {unknown[0]}, which labels of this dataset do "
            "not have; unpack the file from its owner's archive again"
        )
    return table[values]


def convert_labels(table: np.ndarray, source: Path, target: Path) -> None:
    """Write the class ids of an owner's label file as 8 bits.

    Args:
        table: (N,) class id of each of the owner's ids, or `NO_CLASS`.
        source: single-channel label file.
        target: label file to write, see `write_labels`.

    Raises:
        ValueError: the source cannot be read, or has an id without a class.
        OSError: the source is missing, or the target cannot be written (`WriteError`).
    """
    write_labels(target, map_ids(read_labels(source), table, source).astype(np.uint8))


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write a label file, whole or not at all.

    Args:
        path: ending in ``.png`` or ``.tif``.
        labels: (H, W) uint8 or uint16.

    Raises:
        WriteError: the file cannot be written.
    """
    assert labels.dtype in (np.uint8, np.uint16)
    with write_atomically(path) as file:
        Image.fromarray(labels).save(file, format=_FORMATS[path.suffix])
