"""The text format of word lists: one class per line, or entries between separators."""

import os
import re
import reprlib
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "ListedClasses",
    "clean_word",
    "content_lines",
    "fold_word",
    "is_header",
    "parse_entry",
    "parse_lines",
    "read_text",
    "shown",
]

# The set name that marks background classes instead of making a set.
_BACKGROUND_HEADER = "background"
_LARGEST_FILE = 16 * 2**20  # bytes; the word list of ImageNet-21k has 0.5 MB
_SHOWN = 80
_LONGEST_NAME = 1000  # characters; CLIP reads 77 tokens
# Control characters and lone surrogates, which a console cannot print.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass
class ListedClasses:
    """The classes of a text in order; the fields are the arguments of `Vocabulary.from_names`."""

    names: list[str] = field(default_factory=list)
    synonyms: list[tuple[str, ...]] = field(default_factory=list)
    background: list[str] = field(default_factory=list)
    class_sets: dict[str, list[int]] = field(default_factory=dict)


def shown(text: str) -> str:
    """Quote a text for an error message, cut after 80 characters."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}...")


def clean_word(name: str) -> str:
    """Return the word with single spaces.

    Raises:
        ValueError: not a string, one with control characters, or one of more than 1,000 characters.
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
    """Return the form that all spellings of a name share: single spaces, case folded."""
    return clean_word(name).casefold()


def parse_entry(entry: str, where: str) -> tuple[str, tuple[str, ...]]:
    """Read one class.

    Args:
        entry: ``name``, ``name | word`` or ``name = word | word``.
        where: origin of the entry, for errors.

    Returns:
        The name of the class and its words.

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


def content_lines(text: str) -> list[tuple[int, str]]:
    """Return number (from 1) and content of each line that is not empty or a comment."""
    lines = ((n, raw.split("#", 1)[0].strip()) for n, raw in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line]


def is_header(line: str) -> bool:
    """Whether a line is a header of class sets, such as "[base, things]"."""
    return line.startswith("[") and line.endswith("]")


def parse_lines(text: str, where: str) -> ListedClasses:
    """Read a text of one class per line, in the format of `Vocabulary.from_file`.

    Args:
        text: all lines.
        where: origin of the text, for errors.

    Raises:
        ValueError: an entry with an empty word.
    """
    listed = ListedClasses()
    set_names: list[str] = []
    for number, line in content_lines(text):
        if is_header(line):
            set_names = [part.strip() for part in line[1:-1].split(",") if part.strip()]
            continue
        name, words = parse_entry(line, f"{where}, line {number}")
        for set_name in set_names:
            if set_name == _BACKGROUND_HEADER:
                listed.background.append(name)
            else:
                listed.class_sets.setdefault(set_name, []).append(len(listed.names))
        listed.names.append(name)
        listed.synonyms.append(words)
    return listed


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a UTF-8 file of at most 16 MB.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a folder, a device, a larger file, or one that is not UTF-8.
        OSError: the file cannot be opened.
    """
    path = os.fspath(path)
    if not os.path.lexists(path):
        raise FileNotFoundError(f"the word list {shown(path)} does not exist; check its path")
    if not os.path.isfile(path):
        raise ValueError(f"the word list {shown(path)} is not a regular file; give a text file")
    if os.path.getsize(path) > _LARGEST_FILE:
        raise ValueError(
            f"the word list {shown(path)} has {os.path.getsize(path):,} bytes, and at most "
            f"{_LARGEST_FILE:,} are read; give a text file with one class per line"
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
