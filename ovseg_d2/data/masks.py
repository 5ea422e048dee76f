"""Mask sources by name, the Shapes world's exact regions among them."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from ..masks import DinoClusters, Felzenszwalb, MaskFolder, MaskSource, SamMasks, masks_of_labels
from . import shapes

__all__ = ["MASK_SOURCES", "RegionsOrMasks", "ShapesRegions", "build_mask_source"]

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


# Every source that makes masks of pictures, and "stored" for those made before.
MASK_SOURCES: dict[str, Callable[..., MaskSource]] = {
    "shapes": ShapesRegions,
    "felzenszwalb": Felzenszwalb,
    "dino": DinoClusters.load,
    "sam": SamMasks.load,
    "stored": MaskFolder,
}


def build_mask_source(name: str, **options: Any) -> MaskSource:
    """Build a mask source.

    Args:
        name: of `MASK_SOURCES`.
        **options: what the source takes, see there; "shapes" takes none.

    Raises:
        ValueError: an unknown source, unknown or missing options, or what the source refuses.
    """
    if name not in MASK_SOURCES:
        raise ValueError(
            f"mask source {name!r} is unknown; choose one of {', '.join(MASK_SOURCES)}"
        )
    build = MASK_SOURCES[name]
    parameters = inspect.signature(build).parameters
    for option in options:
        if option not in parameters:
            known = ", ".join(parameters) or "none"
            raise ValueError(f"mask source {name!r} has no option {option!r}; it has: {known}")
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"mask source {name!r} needs the option {option!r}; give it a value")
    try:
        return build(**options)
    except TypeError as error:
        raise ValueError(
            f"mask source {name!r} does not take {options}: {error}; check the options' types"
        ) from error
