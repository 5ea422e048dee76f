"""Masks from graph-based segmentation by colour, without weights."""

import numpy as np

from ovseg_d2.masks.labels import masks_of_labels

__all__ = ["Felzenszwalb"]


class Felzenszwalb:
    """Efficient graph-based segmentation (Felzenszwalb and Huttenlocher, 2004) by scikit-image.

    The masks partition the image.
    """

    def __init__(self, *, scale: float = 400.0, sigma: float = 0.8, min_size: int = 50) -> None:
        """Check the options.

        Args:
            scale: larger values give larger masks.
            sigma: pixels, of the Gaussian that smooths the image first.
            min_size: pixels of the smallest mask; smaller ones join a neighbour.

        Raises:
            ValueError: a value is negative, or the scale is 0.
        """
        if not scale > 0 or not sigma >= 0 or min_size < 0:
            raise ValueError(
                f"scale={scale}, sigma={sigma}, min_size={min_size}; give a scale above 0, and a "
                "sigma and a min_size of at least 0"
            )
        self._options = {"scale": scale, "sigma": sigma, "min_size": min_size}

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 image."""
        from skimage.segmentation import felzenszwalb  # loads where it is used

        return masks_of_labels(felzenszwalb(image, channel_axis=-1, **self._options))
