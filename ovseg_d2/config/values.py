"""Kinds of values that keys take, each with a phrase for errors and a test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Values",
    "either",
    "empty",
    "flag",
    "list_of",
    "name",
    "nothing",
    "number",
    "one_of",
    "ordered",
    "sections",
    "share",
    "size",
    "span",
    "text",
    "whole",
]

_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Values:
    """A kind of values.

    Attributes:
        phrase: the kind in an error message, such as "a whole number from 1 to 5".
        fits: whether a value is of the kind.
    """

    phrase: str
    fits: Callable[[Any], bool]


def flag() -> Values:
    """True or False."""
    return Values("True or False", lambda value: isinstance(value, bool))


def whole(least: int = 0, most: int = _LARGEST) -> Values:
    """Whole numbers from ``least`` to ``most``."""
    upper = f"of at least {least}" if most == _LARGEST else f"from {least} to {most}"
    return Values(
        f"a whole number {upper}", lambda value: _is_whole(value) and least <= value <= most
    )


def number(
    least: float | None = None,
    most: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> Values:
    """Finite numbers, whole ones among them.

    Args:
        least: the smallest number.
        most: the largest number.
        above: an exclusive lower bound.
        below: an exclusive upper bound.
    """
    if least is not None and most is not None:
        limits = [f"from {least} to {most}"]
    else:
        bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
        limits = [f"{kind} {bound}" for kind, bound in bounds.items() if bound is not None]

    def fits(value: Any) -> bool:
        return (
            _is_finite(value)
            and (least is None or value >= least)
            and (above is None or value > above)
            and (most is None or value <= most)
            and (below is None or value < below)
        )

    return Values(f"a number {' and '.join(limits)}".rstrip(), fits)


def share() -> Values:
    """Numbers from 0 to 1."""
    return Values("a share from 0 to 1", number(0, 1).fits)


def text() -> Values:
    """Text, possibly empty."""
    return Values("text", _is_text)


def name() -> Values:
    """Text that is not blank."""
    return Values("text that is not empty", lambda value: _is_text(value) and bool(value.strip()))


def nothing() -> Values:
    """None."""
    return Values("None", lambda value: value is None)


def one_of(*choices: str | int) -> Values:
    """The given texts or whole numbers."""
    return Values(
        "one of " + ", ".join(map(repr, choices)),
        lambda value: (
            isinstance(value, str | int)
            and any(value == choice and type(value) is type(choice) for choice in choices)
        ),
    )


def list_of(item: Values, length: int | None = None, *, least: int = 0) -> Values:
    """Lists, or tuples, of one kind of values.

    Args:
        item: the kind of the items.
        length: of the list; None allows any.
        least: length of the shortest list.
    """
    if length is not None:
        phrase = f"a list of {length}, each {item.phrase}"
    else:
        phrase = f"a list{f' of at least {least}' if least else ''}, each item {item.phrase}"
    return Values(
        phrase,
        lambda value: (
            isinstance(value, list | tuple)
            and len(value) >= least
            and length in (None, len(value))
            and all(map(item.fits, value))
        ),
    )


def empty() -> Values:
    """The empty list, or tuple."""
    return Values("[]", lambda value: isinstance(value, list | tuple) and not value)


def sections() -> Values:
    """Sections of keys by their names."""
    return Values(
        "sections of keys",
        lambda value: isinstance(value, dict) and all(isinstance(v, dict) for v in value.values()),
    )


def ordered(values: Values) -> Values:
    """Lists whose items rise."""
    return Values(
        f"{values.phrase}, each larger than the one before",
        lambda value: values.fits(value) and list(value) == sorted(set(value)),
    )


def span(values: Values) -> Values:
    """Pairs of numbers, the smaller one first; both may be equal."""
    pair = list_of(values, 2)
    return Values(
        f"{pair.phrase}, the smaller one first",
        lambda value: pair.fits(value) and value[0] <= value[1],
    )


def size(most: int = 16384) -> Values:
    """Heights and widths in pixels."""
    return Values(
        f"height and width in pixels, [h, w], each from 1 to {most}",
        list_of(whole(1, most), 2).fits,
    )


def either(*kinds: Values) -> Values:
    """Values of any of the kinds."""
    return Values(
        ", or ".join(kind.phrase for kind in kinds), lambda value: any(k.fits(value) for k in kinds)
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    # math.isfinite raises for whole numbers that are too large for a float.
    if _is_whole(value):
        return abs(value) <= _LARGEST
    return isinstance(value, float) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    """Whether a value is text that files and paths can hold."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
