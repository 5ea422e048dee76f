"""The benchmarks' word lists: text files of this package in `Vocabulary.from_file`'s format.

A class name is the benchmark's spelling ("wall-brick", "tvmonitor"), by which results are compared;
its words, which go into prompts, are readable ("brick wall"). Classes are in the order of the label
ids. The header of each file states its content, its order and its sources.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from ovseg_d2.vocab.vocabulary import Vocabulary

__all__ = ["list_vocabularies", "load_vocabulary"]

_FOLDER = "lists"
_SUFFIX = ".txt"


@cache
def list_vocabularies() -> tuple[str, ...]:
    """Return the names of all word lists, in alphabetical order."""
    files = (entry.name for entry in (resources.files(__package__) / _FOLDER).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


@cache
def load_vocabulary(name: str) -> Vocabulary:
    """Read a word list of the package.

    Lists of zero-shot protocols have the class sets "seen" and "unseen". A class "background" comes
    first and is in `Vocabulary.background`.

    Args:
        name: one of `list_vocabularies`, such as "voc20".

    Returns:
        The vocabulary, the same object at each call.

    Raises:
        ValueError: an unknown name.
    """
    names = list_vocabularies()
    if name not in names:
        raise ValueError(
            f"there is no word list {name!r}; choose one of {', '.join(names)}, or read a file of "
            "your own with Vocabulary.from_file"
        )
    file = resources.files(__package__) / _FOLDER / f"{name}{_SUFFIX}"
    with resources.as_file(file) as path:
        return Vocabulary.from_file(path)
