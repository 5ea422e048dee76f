"""`Vocabulary`: an immutable, ordered list of classes, one output channel per class.

Systems, datasets and evaluators all use this type. It is equal by content, hashable and picklable.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ovseg_d2.vocab.lines import (
    clean_word,
    fold_word,
    parse_entry,
    parse_lines,
    read_text,
    shown,
)

__all__ = ["ClassSets", "Vocabulary"]


class ClassSets(Mapping[str, tuple[int, ...]]):
    """Immutable named sets of class indices, e.g. ``{"base": (0, 1), "novel": (2,)}``."""

    def __init__(self, sets: Mapping[str, Iterable[int]] | None = None) -> None:
        """Copy ``sets``, with indices sorted and repeats dropped."""
        self._sets = {
            str(name): tuple(sorted({int(i) for i in ids})) for name, ids in (sets or {}).items()
        }

    def __getitem__(self, name: str) -> tuple[int, ...]:
        """Return the indices of a set, ascending; a KeyError lists the names of all sets."""
        if name not in self._sets:
            raise KeyError(f"no class set {name!r}; there are {sorted(self._sets)}")
        return self._sets[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order given."""
        return iter(self._sets)

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self._sets)

    def __hash__(self) -> int:
        """Hash the content; equality comes from Mapping."""
        return hash(frozenset(self._sets.items()))

    def __repr__(self) -> str:
        """Format the sets as a dict."""
        return repr(self._sets)


@dataclass(frozen=True)
class Vocabulary:
    """K classes in channel order.

    Args:
        names: the K class names, unique when case is ignored. Runs of white space become one space.
        synonyms: the prompt words of each class. Default: its name alone. A word repeated within
            one class is dropped; two classes may share a word.
        background: names of the classes that mean "background". Each has a channel like any class.
        class_sets: named sets of class indices, such as "base" and "novel"; they may overlap.

    Raises:
        ValueError: no class, an empty or repeated name, a class without words, a background name
            that is not a class, or a set index out of range.
    """

    names: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...] = ()
    background: tuple[str, ...] = ()
    class_sets: Mapping[str, tuple[int, ...]] = field(default_factory=ClassSets)

    def __post_init__(self) -> None:
        """Normalise white space, fill in defaults and check all fields."""
        _refuse_string("names", self.names)
        _refuse_string("background", self.background)
        names = tuple(clean_word(name) for name in self.names)
        _check_names(names)
        words = self.synonyms or tuple((name,) for name in names)
        _check_synonyms(names, words)
        index = {fold_word(name): i for i, name in enumerate(names)}
        background = tuple(clean_word(name) for name in self.background)
        for name in background:
            if fold_word(name) not in index:
                raise ValueError(
                    f"background name {shown(name)} is not a class of this vocabulary; "
                    "add it to names, because background is a class like any other"
                )
        ids = sorted({index[fold_word(name)] for name in background})
        class_sets = ClassSets(self.class_sets)
        _check_class_sets(class_sets, len(names))

        # A frozen dataclass has no other way to set its fields.
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "synonyms", tuple(_unique_words(group) for group in words))
        object.__setattr__(self, "background", tuple(names[i] for i in ids))
        object.__setattr__(self, "class_sets", class_sets)

    @classmethod
    def from_names(
        cls,
        names: Iterable[str],
        *,
        synonyms: Sequence[Sequence[str]] = (),
        background: Iterable[str] = (),
        class_sets: Mapping[str, Iterable[int]] | None = None,
    ) -> Vocabulary:
        """Build from an iterable of names, taken literally: commas and bars are plain text."""
        _refuse_string("names", names)
        _refuse_string("background", background)
        for group in synonyms:
            _refuse_string("synonyms", group)
        return cls(
            names=tuple(names),
            synonyms=tuple(tuple(group) for group in synonyms),
            background=tuple(background),
            class_sets=ClassSets(class_sets),
        )

    @classmethod
    def parse(cls, text: str, *, separator: str = ",") -> Vocabulary:
        """Read entries between separators: ``"red star, grass | lawn, brick = brick wall"``.

        Bars separate the words of one class (the first is its name), and ``name = word | word``
        gives a name that is not a prompt word.

        Args:
            text: the entries.
            separator: of classes.

        Raises:
            ValueError: an empty entry, or as the constructor.
        """
        entries = text.split(separator)
        if not text.strip():
            raise ValueError(f"classes {shown(text)} name nothing; give words such as 'sky, grass'")
        where = f"classes {shown(text)}"
        classes = []
        for position, entry in enumerate(entries, start=1):
            if not entry.strip():
                mark = {",": "comma", ";": "semicolon"}.get(separator, separator)
                raise ValueError(
                    f"{where}: entry {position} of {len(entries)} is empty; remove the extra {mark}"
                )
            classes.append(parse_entry(entry, where))
        return cls(tuple(name for name, _ in classes), tuple(words for _, words in classes))

    @classmethod
    def from_lines(cls, text: str, where: str) -> Vocabulary:
        """Read a text in the format of `from_file`.

        Args:
            text: all lines.
            where: origin of the text, for errors.

        Raises:
            ValueError: a text without classes, or as the constructor.
        """
        listed = parse_lines(text, where)
        try:
            return cls.from_names(**vars(listed))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """Read a UTF-8 text file of one class per line.

        ``name``, ``name | synonym`` or ``name = word | word``; commas are part of a name. ``#``
        starts a comment, empty lines are skipped. A line ``[base]`` or ``[base, things]`` puts the
        following classes into these class sets, until the next such line (``[]`` ends all); in the
        set called ``background`` a class becomes a background class instead.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: a file that is not text, one without classes, or as the constructor; the
                message starts with the path.
        """
        return cls.from_lines(read_text(path), str(path))

    def __len__(self) -> int:
        """Return the number of classes K."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the index of a class by name, ignoring case and extra white space.

        Raises:
            ValueError: an unknown name.
        """
        for i, other in enumerate(self.names):
            if fold_word(other) == fold_word(name):
                return i
        raise ValueError(f"{shown(name)} is not a class of this vocabulary of {len(self)}")

    @property
    def background_ids(self) -> tuple[int, ...]:
        """Indices of the background classes, ascending."""
        return tuple(self.index(name) for name in self.background)

    def subset(self, classes: Sequence[int] | Sequence[str]) -> Vocabulary:
        """Return a vocabulary of the given classes, indices or names, in the order given.

        Class sets and background keep their members; a set that loses all of them stays, empty.

        Raises:
            ValueError: an index out of range, an unknown name, a repeat or an empty selection.
        """
        _refuse_string("classes", classes)
        ids = [self.index(c) if isinstance(c, str) else int(c) for c in classes]
        for i in ids:
            if not 0 <= i < len(self):
                raise ValueError(
                    f"classes hold the index {i}, outside this vocabulary's 0..{len(self) - 1}"
                )
        new_index = {old: new for new, old in enumerate(ids)}
        return Vocabulary(
            names=tuple(self.names[i] for i in ids),
            synonyms=tuple(self.synonyms[i] for i in ids),
            background=tuple(self.names[i] for i in self.background_ids if i in new_index),
            class_sets=ClassSets(
                {
                    name: [new_index[i] for i in members if i in new_index]
                    for name, members in self.class_sets.items()
                }
            ),
        )

    def union(self, other: Vocabulary) -> Vocabulary:
        """Return this vocabulary, followed by the classes of ``other`` that it lacks.

        Classes of the same name become one, with the words, class sets and background of both.
        """
        names = list(self.names)
        synonyms = list(self.synonyms)
        new_index = {fold_word(name): i for i, name in enumerate(names)}
        for name, words in zip(other.names, other.synonyms, strict=True):
            i = new_index.setdefault(fold_word(name), len(names))
            if i == len(names):
                names.append(name)
                synonyms.append(words)
            else:
                synonyms[i] = synonyms[i] + words
        class_sets = {name: list(members) for name, members in self.class_sets.items()}
        for name, members in other.class_sets.items():
            moved = [new_index[fold_word(other.names[i])] for i in members]
            class_sets.setdefault(name, []).extend(moved)
        return Vocabulary(
            names=tuple(names),
            synonyms=tuple(synonyms),
            background=self.background + other.background,
            class_sets=ClassSets(class_sets),
        )

    def key(self) -> str:
        """Return the SHA-256 of the content, 64 hexadecimal digits, the same on every machine."""
        content = [
            self.names,
            self.synonyms,
            self.background,
            sorted((name, ids) for name, ids in self.class_sets.items()),
        ]
        text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def _refuse_string(argument: str, value: object) -> None:
    # A string is a sequence of strings, and would become one class per letter.
    if isinstance(value, str):
        raise ValueError(
            f"{argument} must be a sequence of words, got the single string {shown(value)}; "
            "put it in a list, or use Vocabulary.parse to split it at its commas"
        )


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ValueError("names is empty; a vocabulary needs at least one class")
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if not name:
            raise ValueError(f"names[{i}] is empty; give every class a name")
        first = seen.setdefault(fold_word(name), i)
        if first != i:
            raise ValueError(
                f"names repeat a class: {shown(names[first])} (class {first}) and {shown(name)} "
                f"(class {i}); keep one, or join them as synonyms of one class"
            )


def _check_synonyms(names: Sequence[str], synonyms: Sequence[Sequence[str]]) -> None:
    if len(synonyms) != len(names):
        raise ValueError(
            f"synonyms describe {len(synonyms)} classes but names hold {len(names)}; "
            "give one group of words per class, or none at all"
        )
    for name, words in zip(names, synonyms, strict=True):
        _refuse_string("synonyms", words)
        if not words or not all(clean_word(word) for word in words):
            raise ValueError(
                f"the synonyms {reprlib.repr(list(words))} of class {shown(name)} are empty or "
                "hold an empty word; give at least one word, and no empty one"
            )


def _unique_words(words: Sequence[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for word in words:
        kept.setdefault(fold_word(word), clean_word(word))
    return tuple(kept.values())


def _check_class_sets(class_sets: ClassSets, num_classes: int) -> None:
    for name, members in class_sets.items():
        for i in members:
            if not 0 <= i < num_classes:
                raise ValueError(
                    f"class_sets[{name!r}] holds the index {i}, but there are {num_classes} "
                    f"classes; use 0..{num_classes - 1}"
                )
