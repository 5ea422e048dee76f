"""Mask sources by name, each built from keyword options."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ovseg_d2.masks.dino import DinoClusters
from ovseg_d2.masks.felzenszwalb import Felzenszwalb
from ovseg_d2.masks.sam import SamMasks
from ovseg_d2.masks.source import MaskFolder, MaskSource

__all__ = ["MASK_SOURCES", "MaskSources", "build_mask_source", "option_names"]

MaskSources = Mapping[str, Callable[..., MaskSource]]

# Sources that need only images and files; `prepare` adds those that need other rooms.
MASK_SOURCES: MaskSources = {
    "felzenszwalb": Felzenszwalb,
    "dino": DinoClusters.load,
    "sam": SamMasks.load,
    "stored": MaskFolder,
}


def option_names(name: str, sources: MaskSources = MASK_SOURCES) -> list[str]:
    """Names of the options that the builder of a source takes.

    Raises:
        ValueError: ``name`` is not in ``sources``.
    """
    if name not in sources:
        raise ValueError(f"mask source {name!r} is unknown; choose one of {', '.join(sources)}")
    return list(inspect.signature(sources[name]).parameters)


def build_mask_source(
    name: str, sources: MaskSources = MASK_SOURCES, /, **options: Any
) -> MaskSource:
    """Build a mask source.

    Args:
        name: a key of ``sources``.
        sources: name -> class or function that builds the source.
        **options: arguments of that class or function.

    Raises:
        ValueError: an unknown source, an unknown or missing option, or a value that the source
            refuses.
    """
    known = option_names(name, sources)
    for option in options:
        if option not in known:
            raise ValueError(
                f"mask source {name!r} has no option {option!r}; it has: "
                f"{', '.join(known) or 'none'}"
            )
    build = sources[name]
    for option, parameter in inspect.signature(build).parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"mask source {name!r} needs the option {option!r}; give it a value")
    try:
        return build(**options)
    except TypeError as error:
        raise ValueError(
            f"mask source {name!r} does not take {options}: {error}; check the options' types"
        ) from error
