"""The words that ShapesCLIP is trained with."""

import re
from collections.abc import Iterable

from .classes import COLORS, GROUNDS, KINDS

__all__ = ["unknown_words"]

_SMALL_WORDS = frozenset("a an the of on with and in is there photo picture scene".split())


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 3 else word


_KNOWN = frozenset(_singular(word) for word in (*COLORS, *KINDS, *GROUNDS)) | _SMALL_WORDS


def unknown_words(names: Iterable[str]) -> list[str]:
    """Select the names that hold a word which no caption of the Shapes world has."""
    return [
        name
        for name in names
        if any(_singular(word) not in _KNOWN for word in re.findall(r"[^\W_]+", name.lower()))
    ]
