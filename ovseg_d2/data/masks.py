"""The exact regions of the Shapes world as a mask source."""

import logging

import numpy as np

from ..masks import MaskSource, masks_of_labels
from . import shapes

__all__ = ["RegionsOrMasks", "ShapesRegions"]

_logger = logging.getLogger(__name__)


class ShapesRegions:
    """Exact, disjoint regions of the Shapes world's images, without classes."""

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool regions of a ``shapes://`` name; ``image`` is not used.

        Raises:
            ValueError: another name.
        """
        if not shapes.is_shapes_name(file_name):
            raise ValueError(
                f"{file_name!r} has no exact regions: the mask source 'shapes' takes only images "
                "named shapes://split/seed/index; choose another source"
            )
        return masks_of_labels(shapes.read_regions(file_name))


class RegionsOrMasks:
    """Exact regions of the Shapes world's images, and masks of another source for all others.

    A warning is logged at the first other image.
    """

    def __init__(self, other: MaskSource, name: str) -> None:
        """Use ``other`` for all other images; ``name`` is its name in the log."""
        self._exact = ShapesRegions()
        self._other = other
        self._name = name
        self._has_warned = False

    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an (H, W, 3) uint8 image."""
        if shapes.is_shapes_name(file_name):
            return self._exact(image, file_name)
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "INPUT.MASKS.SOURCE shapes has exact masks only of images of the Shapes world; "
                "masks of all other images are made by %s. Set SOURCE to stored, %s or dino to use "
                "one source for all",
                self._name,
                self._name,
            )
        return self._other(image, file_name)
