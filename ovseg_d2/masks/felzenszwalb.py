"""Masks without any weights: graph-based segmentation by colour."""

import numpy as np

from ovseg_d2.masks.labels import masks_of_labels

__all__ = ["Felzenszwalb"]


class Felzenszwalb:
    """Efficient graph-based segmentation (Felzenszwalb and Huttenlocher, 2004) by scikit-image.

    The masks share the picture out: they do not overlap, and leave nothing over.
    """

    def __init__(self, *, scale: float = 400.0, sigma: float = 0.8, min_size: int = 50) -> None:
        """Choose how finely.

        Args:
            scale: larger makes larger masks.
            sigma: of the Gaussian that smooths the picture first, in pixels.
            min_size: pixels of the smallest mask; smaller ones join a neighbour.

        Raises:
            ValueError: one of them is negative, or the scale is 0.
        """
        if not scale > 0 or not sigma >= 0 or min_size < 0:
            raise ValueError(
                f"scale={scale}, sigma={sigma}, min_size={min_size}; give a scale above 0, and a "
                "sigma and a min_size of at least 0"
            )
        self._options = {"scale": scale, "sigma": sigma, "min_size": min_size}

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 picture."""
        from skimage.segmentation import felzenszwalb  # loads where it is used

        return masks_of_labels(felzenszwalb(image, channel_axis=-1, **self._options))
