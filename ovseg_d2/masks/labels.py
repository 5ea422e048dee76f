"""Between label maps and masks."""

import numpy as np

__all__ = ["masks_of_labels", "nearest_pixels"]


def masks_of_labels(labels: np.ndarray) -> np.ndarray:
    """One mask for each value.

    Args:
        labels: (H, W) whole numbers.

    Returns:
        (Q, H, W) bool, by rising value, none empty.
    """
    return np.unique(labels)[:, None, None] == labels


def nearest_pixels(old: int, new: int) -> np.ndarray:
    """(new,) indices: of ``old`` pixels in a row those nearest to the centres of ``new`` ones."""
    return ((2 * np.arange(new) + 1) * old) // (2 * new)
