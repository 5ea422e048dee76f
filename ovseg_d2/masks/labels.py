"""Masks of label maps, and nearest-pixel resizing."""

import numpy as np

__all__ = ["masks_of_labels", "nearest_pixels"]


def masks_of_labels(labels: np.ndarray) -> np.ndarray:
    """One mask for each value of a label map.

    Args:
        labels: (H, W) integer.

    Returns:
        (Q, H, W) bool, by ascending value, none empty.
    """
    return np.unique(labels)[:, None, None] == labels


def nearest_pixels(old: int, new: int) -> np.ndarray:
    """(new,) indices into ``old`` pixels: the nearest to the centres of ``new`` pixels."""
    return ((2 * np.arange(new) + 1) * old) // (2 * new)
