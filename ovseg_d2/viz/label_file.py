"""Label maps as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ovseg_d2.files import write_atomically
from ovseg_d2.viz.colors import class_colors

__all__ = ["save_labels"]


def save_labels(
    path: str | Path, labels: NDArray[np.integer] | Tensor, *, num_classes: int | None = None
) -> None:
    """Write class indices as a PNG whose pixel values are the labels.

    A file of up to 256 classes has 8 bits and a palette for viewers (`class_colors`, and white for
    255 if that is not a class); a file of more classes has 16 bits in grey.

    Args:
        path: file to write, ending in ``.png``; it is written whole or not at all.
        labels: (H, W) integers, 0..65535.
        num_classes: number of classes K, so that all files of a dataset have the same form; None:
            the largest label decides.

    Raises:
        ValueError: another ending, shape or dtype, or labels outside 0..65535.
        OSError: the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"path is {str(path)!r}; give a path that ends in .png")
    array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.ndim != 2 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"labels have shape {array.shape} and dtype {array.dtype}; give (H, W) integers"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 65535:
        raise ValueError(
            f"labels hold {low if low < 0 else high}, but a PNG holds 0..65535; "
            "map ignored pixels to 255 or 65535 first"
        )
    highest = max(high, 0 if num_classes is None else num_classes - 1)
    image = Image.fromarray(array.astype(np.uint16 if highest > 255 else np.uint8))
    if highest <= 255:
        palette = class_colors([""] * 256)
        if num_classes is None or num_classes < 256:
            palette[255] = 255
        image.putpalette(palette.tobytes())
    with write_atomically(path) as file:
        image.save(file, format="PNG")
