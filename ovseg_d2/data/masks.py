"""The exact regions of the Shapes world as a mask source."""

import logging

import numpy as np

from ..masks import MaskSource, masks_of_labels
from . import shapes

__all__ = ["RegionsOrMasks", "ShapesRegions"]

_logger = logging.getLogger(__name__)


class ShapesRegions:
    """The exact regions of the Shapes world's pictures, without classes; they are disjoint."""

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool regions of a ``shapes://`` picture; its name alone counts.

        Raises:
            ValueError: a picture of another kind.
        """
        if not shapes.is_shapes_name(file_name):
            raise ValueError(
                f"{file_name!r} has no exact regions: the mask source 'shapes' knows pictures "
                "called shapes://split/seed/index only; choose another source"
            )
        return masks_of_labels(shapes.read_regions(file_name))


class RegionsOrMasks:
    """Exact regions of the Shapes world's images, and masks of another source for all others.

    The log says once that there are others.
    """

    def __init__(self, other: MaskSource, name: str) -> None:
        """Take the other source, and its name for the log."""
        self._exact = ShapesRegions()
        self._other = other
        self._name = name
        self._told = False

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 image."""
        if shapes.is_shapes_name(file_name):
            return self._exact(image, file_name)
        if not self._told:
            self._told = True
            _logger.warning(
                "INPUT.MASKS.SOURCE shapes has exact masks of images of the Shapes world only; "
                "those of all other images are made by %s. SOURCE stored, %s or dino names one for "
                "all",
                self._name,
                self._name,
            )
        return self._other(image, file_name)
