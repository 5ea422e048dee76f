"""Read the vocabulary of a dataset from its metadata."""

import reprlib
from collections.abc import Sequence
from typing import Any, Protocol

from ovseg_d2.vocab.lines import fold_word
from ovseg_d2.vocab.read import read_words, words_of
from ovseg_d2.vocab.vocabulary import Vocabulary

__all__ = ["metadata_vocabulary", "name_some", "read_class_names", "tell_apart"]


class Metadata(Protocol):
    """The interface of metadata: a dict or detectron2's `Metadata`."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key, or the default."""


def metadata_vocabulary(metadata: Metadata, where: str) -> Vocabulary | None:
    """Return the classes of a dataset, or None if its metadata have none.

    `read_words` reads ``vocabulary``; without it ``stuff_classes`` and ``class_sets`` are used. Of
    two classes with one name, the later gets a number behind its name, not behind its words.

    Args:
        metadata: of the dataset.
        where: "dataset NAME", for errors.

    Raises:
        ValueError: a class without a name, or a value that is not a list of classes.
    """
    given = metadata.get("vocabulary")
    if given is not None:
        return read_words(given, f"{where}: vocabulary")
    names = read_class_names(metadata, where)
    if not names:
        return None
    synonyms = [[word.strip() for word in name.split(",") if word.strip()] for name in names]
    class_sets = metadata.get("class_sets") or {}
    try:
        return Vocabulary.from_names(tell_apart(names), synonyms=synonyms, class_sets=class_sets)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def read_class_names(metadata: Metadata, where: str) -> list[str]:
    """Return the names in ``stuff_classes``; [] without it.

    Args:
        metadata: of a dataset. A name is a text with commas between synonyms, or a list of
            synonyms, which are joined by commas.
        where: "dataset NAME", for errors.

    Raises:
        ValueError: ``stuff_classes`` is not a list or tuple, or one of its items is not a name.
    """
    classes = metadata.get("stuff_classes")
    if classes is None:
        return []
    if not isinstance(classes, list | tuple):
        raise ValueError(
            f"{where}: stuff_classes is {reprlib.repr(classes)} ({type(classes).__name__}); give a "
            "list with the name of each class"
        )
    names = []
    for number, item in enumerate(classes):
        place = f"{where}: stuff_classes[{number}]"
        name = ", ".join(words_of(item, place, "the class's name, or a list of its synonyms"))
        if not name.replace(",", " ").strip():
            raise ValueError(f"{place} is {item!r}, which is empty; give every class a name")
        names.append(name)
    return names


def tell_apart(names: Sequence[str]) -> list[str]:
    """Make class names unique.

    Returns:
        The names; one that equals an earlier one, ignoring case, gets " (2)", " (3)", ...
    """
    taken: set[str] = set()
    unique_names = []
    for name in names:
        candidate, number = name, 1
        while fold_word(candidate) in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(fold_word(candidate))
        unique_names.append(candidate)
    return unique_names


def name_some(names: Sequence[str], most: int = 10) -> str:
    """Join the first ``most`` names and the number of the others, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
