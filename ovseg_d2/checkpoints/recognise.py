"""The release that a state dict is of, by its names."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from ..weight_files import describe_method
from . import maskclip, maskclip_plus, maskformer, ovseg, pixelclip, swin
from .release import Converted, Release

__all__ = ["RELEASES", "convert_release", "recognise"]

# Most specific first: the first one that fits is the answer.
RELEASES: tuple[Release, ...] = (
    ovseg.RELEASE,
    *pixelclip.RELEASES,
    maskformer.RELEASE,
    maskclip_plus.RELEASE,
    swin.RELEASE,
    *maskclip.RELEASES,
)


def recognise(names: Iterable[str]) -> Release | None:
    """Return the release that a state dict's names belong to; None if unknown."""
    names = tuple(names)
    return next((release for release in RELEASES if release.fits(names)), None)


def convert_release(
    weights: Mapping[str, Tensor], source: str, name: str | None = None
) -> tuple[Release, Converted]:
    """Convert a whole released model.

    Args:
        weights: state dict.
        source: the file, for errors.
        name: of the release, see `Release`; None recognises it.

    Raises:
        ValueError: the weights are not of such a release, or of one that is not converted; or a
            value is not a tensor.
    """
    other = [key for key, value in weights.items() if not isinstance(value, Tensor)]
    if other:
        raise ValueError(f"{source}: its entry {other[0]!r} is not a tensor; give another file")
    known = [release for release in RELEASES if release.name == name]
    release = recognise(weights)
    if known and release not in known:
        release = known[0]  # whose conversion says what is wrong
    if release is None:
        method = describe_method(weights)
        raise ValueError(
            f"{source} holds weights of {method or 'an unknown method'} by their names; --release "
            f"converts those of {', '.join(sorted({r.name for r in RELEASES if r.whole}))}"
        )
    if release.convert is None or not release.whole:
        raise ValueError(f"{source} holds {release.title}; it belongs in {release.place}")
    return release, release.convert(weights)
