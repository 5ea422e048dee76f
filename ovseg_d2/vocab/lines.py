"""The text format of word lists: one class a line, or entries between separators.

It knows strings and files only; `Vocabulary` is built from what it returns.
"""

import os
import re
import reprlib
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "ListedClasses",
    "clean_word",
    "fold_word",
    "parse_entry",
    "parse_lines",
    "read_text",
    "shown",
    "without_remarks",
]

# The set name that marks background classes instead of making a set.
_BACKGROUND_HEADER = "background"
_LARGEST_FILE = 16 * 2**20  # bytes; the word list of ImageNet-21k has 0.5 MB
_SHOWN = 80
# No prompt is longer: CLIP reads about 77 tokens.
_LONGEST_NAME = 1000
# Control characters and halves of characters, which no word holds and no console prints.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass
class ListedClasses:
    """What a text lists, in its order; the fields are `Vocabulary.from_names`'s arguments."""

    names: list[str] = field(default_factory=list)
    synonyms: list[tuple[str, ...]] = field(default_factory=list)
    background: list[str] = field(default_factory=list)
    class_sets: dict[str, list[int]] = field(default_factory=dict)


def shown(text: str) -> str:
    """The text in quotes for an error, cut off where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def clean_word(name: str) -> str:
    """The word with single spaces.

    Raises:
        ValueError: no string, or one that is no word: control characters, more than 1,000 letters.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"a class name must be a string, got {reprlib.repr(name)} ({type(name).__name__})"
        )
    name = " ".join(name.split())
    if len(name) > _LONGEST_NAME or _NO_TEXT.search(name):
        problem = "holds control characters" if len(name) <= _LONGEST_NAME else "is too long"
        raise ValueError(
            f"the word {shown(name)} of {len(name)} characters {problem}; give words of a prompt"
        )
    return name


def fold_word(name: str) -> str:
    """What two spellings of one name share."""
    return clean_word(name).casefold()


def parse_entry(entry: str, where: str) -> tuple[str, tuple[str, ...]]:
    """Read one class.

    Args:
        entry: ``name``, ``name | word`` or ``name = word | word``.
        where: it stands, for the error.

    Returns:
        The name and its words.

    Raises:
        ValueError: an empty name or word.
    """
    name, equals, rest = entry.partition("=")
    words = [clean_word(word) for word in (rest if equals else entry).split("|")]
    name = clean_word(name) if equals else words[0]
    if not name or not all(words):
        raise ValueError(
            f"{where}: {shown(entry.strip())} holds an empty word; "
            "write 'name', 'name | synonym' or 'name = word | word'"
        )
    return name, tuple(words)


def without_remarks(text: str) -> list[tuple[int, str]]:
    """The lines that hold something beside a comment, with their numbers from 1."""
    lines = ((n, raw.split("#", 1)[0].strip()) for n, raw in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line]


def parse_lines(text: str, where: str) -> ListedClasses:
    """Read a text of one class a line; see `Vocabulary.from_file` for the format.

    Args:
        text: the whole of it.
        where: it comes from, for the error.

    Raises:
        ValueError: an entry with an empty word.
    """
    found = ListedClasses()
    current: list[str] = []
    for number, line in without_remarks(text):
        if line.startswith("[") and line.endswith("]"):
            current = [part.strip() for part in line[1:-1].split(",") if part.strip()]
            continue
        name, words = parse_entry(line, f"{where}, line {number}")
        for set_name in current:
            if set_name == _BACKGROUND_HEADER:
                found.background.append(name)
            else:
                found.class_sets.setdefault(set_name, []).append(len(found.names))
        found.names.append(name)
        found.synonyms.append(words)
    return found


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file of at most 16 MB.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder or device, a larger file, or one that is not UTF-8.
        OSError: a file that cannot be opened.
    """
    path = os.fspath(path)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"the word list {shown(path)} does not exist; check its path")
    if not os.path.isfile(path):
        raise ValueError(f"the word list {shown(path)} is no regular file; give a text file")
    if os.path.getsize(path) > _LARGEST_FILE:
        raise ValueError(
            f"the word list {shown(path)} has {os.path.getsize(path):,} bytes, more than any list "
            f"of words ({_LARGEST_FILE:,}); give a text file with one class a line"
        )
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the word list {shown(path)} is not UTF-8 text ({error.reason} at byte "
            f"{error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise OSError(f"the word list {shown(path)} cannot be read: {error.strerror}") from error
