"""The vocabulary that a dataset's metadata describe."""

import reprlib
from collections.abc import Sequence
from typing import Any, Protocol

from ovseg_d2.vocab.read import read_words
from ovseg_d2.vocab.vocabulary import Vocabulary


class Metadata(Protocol):
    """What is asked of metadata: a value by its name, None where there is none."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """The value of a name."""


def metadata_vocabulary(metadata: Metadata, where: str) -> Vocabulary | None:
    """The classes of a dataset, or None where its metadata have none.

    ``vocabulary`` is read by :func:`~ovseg_d2.vocab.read_words`; without it ``stuff_classes``,
    with ``class_sets``. Datasets exist that name two classes alike; the later one is told apart by
    a number behind its name, which is no part of its words.

    Args:
        metadata: of the dataset.
        where: which one, for the error.

    Raises:
        ValueError: a class without a name, or something that is no list of classes.
    """
    given = metadata.get("vocabulary")
    if given is not None:
        return read_words(given, f"{where}: vocabulary")
    names = read_class_names(metadata, where)
    if not names:
        return None
    synonyms = [[word.strip() for word in each.split(",") if word.strip()] for each in names]
    class_sets = metadata.get("class_sets") or {}
    try:
        return Vocabulary.from_names(tell_apart(names), synonyms=synonyms, class_sets=class_sets)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def read_class_names(metadata: Metadata, where: str) -> list[str]:
    """The names in ``stuff_classes``; [] where there are none.

    Args:
        metadata: of a dataset. A name is a text, in which commas separate synonyms, or a list of
            synonyms, which are then joined by commas.
        where: which dataset, for the error.

    Raises:
        ValueError: ``stuff_classes`` is no list or tuple, or holds something else.
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
    for number, each in enumerate(classes):
        words = each if isinstance(each, list | tuple) else [each]
        if not all(isinstance(word, str) for word in words):
            raise ValueError(
                f"{where}: stuff_classes[{number}] is {reprlib.repr(each)}; give the class's name, "
                "or a list of its synonyms"
            )
        name = ", ".join(words)
        if not name.replace(",", " ").strip():
            raise ValueError(
                f"{where}: stuff_classes[{number}] is {each!r}, which names nothing; give every "
                "class a name"
            )
        names.append(name)
    return names


def tell_apart(names: Sequence[str]) -> list[str]:
    """Names that all differ, for a list in which several classes may bear one name.

    Args:
        names: of classes.

    Returns:
        The names; " (2)" and so on follows a name that an earlier one equals but for case.
    """
    taken: set[str] = set()
    kept = []
    for name in names:
        candidate, number = name, 1
        while " ".join(candidate.split()).casefold() in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(" ".join(candidate.split()).casefold())
        kept.append(candidate)
    return kept


def name_some(names: Sequence[str], most: int = 10) -> str:
    """The first names of a list, for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
