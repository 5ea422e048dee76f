"""The release that a state dict is of, by its names."""

from collections.abc import Iterable

from . import maskformer, ovseg, pixelclip
from .release import Release

__all__ = ["RELEASES", "recognise"]

# Most specific first: the first one that fits is the answer.
RELEASES: tuple[Release, ...] = (
    ovseg.RELEASE,
    *pixelclip.RELEASES,
    maskformer.RELEASE,
)


def recognise(names: Iterable[str]) -> Release | None:
    """Return the release that a state dict's names belong to; None if unknown."""
    names = tuple(names)
    return next((release for release in RELEASES if release.fits(names)), None)
