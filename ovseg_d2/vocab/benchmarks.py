"""The benchmarks' word lists: text files of this package in `Vocabulary.from_file`'s format.

The name of a class is the benchmark's own spelling ("wall-brick", "tvmonitor"), by which results
are compared with others'; its words, which go into prompts, are readable ("brick wall"). Each file
begins with what it lists, in which order, and where names and words come from. The order is the
order of the label ids.
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
    """Names of all word lists, in alphabetical order."""
    files = (entry.name for entry in (resources.files(__package__) / _FOLDER).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


@cache
def load_vocabulary(name: str) -> Vocabulary:
    """Read a word list of the package.

    Lists of zero-shot protocols have the class sets "seen" and "unseen"; a class called
    "background", where there is one, comes first and is marked as such.

    Args:
        name: such as "voc20"; `list_vocabularies` gives all.

    Returns:
        The same object at each call; it never changes.

    Raises:
        ValueError: no list of that name.
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
