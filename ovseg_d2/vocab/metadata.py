"""The vocabulary that a dataset's metadata describe."""

from collections.abc import Sequence
from typing import Any, Protocol

from ovseg_d2.vocab.vocabulary import Vocabulary


class Metadata(Protocol):
    """What is asked of metadata: a value by its name, None where there is none."""

    def get(self, key: str, default: Any = None, /) -> Any:
        """The value of a name."""


def metadata_vocabulary(metadata: Metadata, where: str) -> Vocabulary | None:
    """The classes of a dataset, or None where its metadata have none.

    ``vocabulary`` is taken as it is; else ``stuff_classes``, where commas separate a class's
    synonyms, with ``class_sets``. Datasets exist that name two classes alike; the later one is told
    apart by a number behind its name, which is no part of its words.

    Args:
        metadata: of the dataset.
        where: which one, for the error.

    Raises:
        ValueError: a class without a name.
    """
    given = metadata.get("vocabulary")
    if given is not None:
        return given
    classes = [str(each) for each in metadata.get("stuff_classes") or ()]
    if not classes:
        return None
    synonyms = [[word.strip() for word in each.split(",") if word.strip()] for each in classes]
    nameless = [number for number, words in enumerate(synonyms) if not words]
    if nameless:
        raise ValueError(
            f"{where}: stuff_classes[{nameless[0]}] is {classes[nameless[0]]!r}, which names "
            "nothing; give every class a name"
        )
    return Vocabulary.from_names(
        _tell_apart(classes), synonyms=synonyms, class_sets=metadata.get("class_sets") or {}
    )


def _tell_apart(names: Sequence[str]) -> list[str]:
    """The names, each again with a number behind it where an earlier one equals it."""
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
