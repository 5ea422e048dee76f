"""Read word lists: one set of rules for command lines, configs, input dicts and Python calls.

White space around a text is removed; the first row that applies to it decides:

===  ======================================  ======================================================
row  text                                    read as
===  ======================================  ======================================================
1    the name of a list (``ade150``)         that list of this package; see `list_vocabularies`
2    ends in ``.txt`` or ``.json``           that file, which must exist; see `Vocabulary.from_file`
3    starts with ``[`` or ``{``              JSON: a list or a dict, see below
4    has several lines                       one class per line, in the format of a file, or lines
                                             that end (or begin) with a common comma or semicolon
5    has semicolons, or commas               the classes between them
6    other                                   one class
===  ======================================  ======================================================

In rows 4 to 6 bars separate the words of one class, and ``name = word | word`` gives a name that is
not a prompt word. Two kinds of separators in one text are refused: they may mean classes or words.

===============================  ==================================================================
value, in Python or JSON         read as
===============================  ==================================================================
list                             classes: each item is a name, taken literally (commas and bars are
                                 part of it), or the list of a class's words, its name first
list of one text of row 1 or 2   that text
dict                             name -> a further word, or a list of further words, of its class;
                                 the name is a word too
path (Python)                    that file
`Vocabulary` (Python)            itself
===============================  ==================================================================
"""

import json
import logging
import os
import reprlib
from collections.abc import Iterator, KeysView, Mapping, Sequence, ValuesView
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_d2.files import expand_user
from ovseg_d2.vocab.benchmarks import list_vocabularies, load_vocabulary
from ovseg_d2.vocab.lines import content_lines, is_header, read_text, shown
from ovseg_d2.vocab.vocabulary import Vocabulary

__all__ = ["Words", "read_word_list", "read_words"]

Words = Vocabulary | str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any]
_logger = logging.getLogger(__name__)
_LONGEST_TEXT = 2**20  # characters
_MOST_CLASSES = 100_000
_FILES = (".txt", ".json")
_OTHER_FILES = (".csv", ".tsv", ".yaml", ".yml", ".names", ".lst", ".xlsx", ".pkl", ".npy")
# Keys of a dict with one entry that is a titled list.
_TITLES = ("classes", "names", "categories", "labels", "vocabulary", "words", "stuff_classes")


def read_words(value: Words, what: str = "classes") -> Vocabulary:
    """Read words by the rules of this module.

    Args:
        value: the words.
        what: the argument or key that holds them, for errors.

    Raises:
        ValueError: no words, or a value that no rule applies to.
        FileNotFoundError: a text that ends in .txt or .json, of a file that does not exist.
    """
    if isinstance(value, Vocabulary):
        return value
    if isinstance(value, os.PathLike):
        return _read_file(os.fspath(value), what)
    if isinstance(value, str):
        return _read_text(value, what)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind == "U":
        value = value.tolist()
    if isinstance(value, Mapping):
        return _read_mapping(value, what)
    if isinstance(value, list | tuple | KeysView | ValuesView | Iterator):
        return _read_list(value, what)
    raise ValueError(
        f"{what} are {reprlib.repr(value)} ({type(value).__name__}), which is not a list of words; "
        "give words such as 'sky, grass', a list of them, or the path of a .txt or .json file"
    )


def read_word_list(name: str, what: str) -> Vocabulary:
    """Read a list of the package by its name, or a .txt or .json file (rows 1 and 2).

    Args:
        name: name of the list, or path of the file.
        what: the key that holds it, for errors.

    Raises:
        ValueError: an unknown name, or a file that is not a word list.
        FileNotFoundError: the file does not exist.
    """
    vocabulary = _read_named(name.strip(), what)
    return load_vocabulary(name) if vocabulary is None else vocabulary


def _read_named(text: str, what: str) -> Vocabulary | None:
    """Read the list or file that a text names (rows 1 and 2); None for another text."""
    if text.casefold() in list_vocabularies():
        vocabulary = load_vocabulary(text.casefold())
        _log_once(f"{what}: {text!r} is the package's word list of {len(vocabulary)} classes")
        return vocabulary
    if "\0" in text:  # no file's name
        return None
    path = os.fspath(expand_user(text))
    ending = os.path.splitext(text)[1].lower()
    if ending in _FILES and (os.path.isfile(path) or not set(",;\n") & set(text)):
        return _read_file(path, what)
    if ending in _OTHER_FILES and os.path.isfile(path):
        raise ValueError(
            f"{what} {shown(text)} name a file of another format; write one class per line into a "
            ".txt file, or a list into a .json file"
        )
    return None


def _read_file(path: str, what: str) -> Vocabulary:
    content = read_text(path)
    if path.lower().endswith(".json"):
        vocabulary = _read_json(content, path)
    else:
        vocabulary = Vocabulary.from_lines(content, path)
    _log_once(f"{what}: {len(vocabulary)} classes of the file {path}")
    return vocabulary


def _read_text(text: str, what: str) -> Vocabulary:
    text = text.strip()
    if len(text) > _LONGEST_TEXT:
        raise ValueError(
            f"{what} are a text of {len(text):,} characters, and at most {_LONGEST_TEXT:,} are "
            "read; write them into a file and give its path"
        )
    named = _read_named(text, what)
    if named is not None:
        return named
    lines = [line for _, line in content_lines(text)] if len(text.splitlines()) > 1 else [text]
    # The header of a class set, "[base]", is not JSON.
    if text.startswith(("[", "{")) and not (len(lines) > 1 and _is_plain_header(lines[0])):
        return _read_json(text, what)
    return _refuse_file_names(_read_separated(text, lines, what), what)


def _is_plain_header(line: str) -> bool:
    return is_header(line) and '"' not in line


def _read_separated(text: str, lines: Sequence[str], what: str) -> Vocabulary:
    """Read classes between line breaks, semicolons or commas (rows 4 to 6)."""
    for mark in (",", ";"):
        if len(lines) > 1 and (
            all(line.endswith(mark) for line in lines[:-1])
            or all(line.startswith(mark) for line in lines[1:])
        ):
            lines = [" ".join(lines)]
    classes = [line for line in lines if len(lines) == 1 or not _is_plain_header(line)]
    marks = {mark for mark in ",;" if any(mark in line for line in classes)}
    if len(lines) > 1:
        marks.add("\n")
    if len(marks) > 1:
        names = {",": "commas", ";": "semicolons", "\n": "line breaks"}
        raise ValueError(
            f"{what} {shown(text)} hold {' and '.join(names[mark] for mark in sorted(marks))}; "
            "separate classes by one of them, and the words of one class by '|'"
        )
    if len(lines) > 1:
        return Vocabulary.from_lines(text, what)
    return Vocabulary.parse(lines[0] if lines else "", separator=marks.pop() if marks else ",")


def _read_json(text: str, what: str) -> Vocabulary:
    try:
        value = json.loads(
            text, object_pairs_hook=lambda pairs: _as_dict(pairs, what), parse_int=_as_number
        )
    except RecursionError as error:
        raise ValueError(f"{what}: this JSON is nested too deeply for a list of words") from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{what}: {shown(text)} begins like JSON but is not valid ({error.msg} at character "
            f'{error.pos}); write ["sky", "grass"], or words without brackets'
        ) from error
    if not isinstance(value, list | dict):
        raise ValueError(
            f"{what}: this JSON is {reprlib.repr(value)}; give a list of names, or an object of "
            "names and their synonyms"
        )
    return _read_mapping(value, what) if isinstance(value, dict) else _read_list(value, what)


def _as_number(digits: str) -> float:
    # Python refuses integers of thousands of digits.
    return int(digits) if len(digits) < 20 else float(digits)


def _as_dict(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in entries if keys.count(key) > 1)
        raise ValueError(f"{what}: this JSON holds {shown(twice)} twice; keep one of them")
    return entries


def _read_list(value: Any, what: str) -> Vocabulary:
    items = list(islice(value, _MOST_CLASSES + 1))
    if not items:
        raise ValueError(
            f"{what} are an empty list; give at least one class, as in ['sky', 'grass']"
        )
    _refuse_many(len(items), what)
    if len(items) == 1 and isinstance(items[0], str):
        named = _read_named(items[0].strip(), what)
        if named is not None:
            return named
    groups = [
        words_of(item, f"{what}[{place}]", "a name, or a list of the words of one class")
        for place, item in enumerate(items)
    ]
    return _from_groups(groups, what)


def _read_mapping(value: Mapping[Any, Any], what: str) -> Vocabulary:
    if not value:
        raise ValueError(f"{what} are an empty dict; give names and their synonyms")
    _refuse_many(len(value), what)
    for key in value:
        if not isinstance(key, str) or key.strip().isdigit():
            raise ValueError(
                f"{what} hold {shown(str(key))}, a number, where a class's name belongs; give a "
                "list of the names in the order of their ids"
            )
    if len(value) == 1:
        title, inner = next(iter(value.items()))
        if title.casefold() in _TITLES and not isinstance(inner, str):
            raise ValueError(f"{what} hold a list under {title!r}; give the list itself")
    expected = "a further word of the class, or a list of them"
    groups = []
    for name, words in value.items():
        further = [] if words in ([], ()) else words_of(words, f"{what}[{shown(name)}]", expected)
        groups.append([name, *further])
    return _from_groups(groups, what)


def words_of(item: Any, where: str, expected: str) -> list[str]:
    """Return the words of an item of a list or dict: a text, or a list of at least one text.

    Args:
        item: of a list or dict.
        where: argument and place of the item, for errors.
        expected: the remedy, for errors.

    Raises:
        ValueError: another value.
    """
    words = [item] if isinstance(item, str) else item
    if (
        not isinstance(words, list | tuple)
        or not words
        or not all(isinstance(word, str) for word in words)
    ):
        raise ValueError(
            f"{where} is {reprlib.repr(item)} ({type(item).__name__}); give {expected}"
        )
    return list(words)


def _from_groups(groups: Sequence[Sequence[str]], what: str) -> Vocabulary:
    try:
        vocabulary = Vocabulary.from_names([group[0] for group in groups], synonyms=groups)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    return _refuse_file_names(vocabulary, what)


def _refuse_many(count: int, what: str) -> None:
    if count > _MOST_CLASSES:
        raise ValueError(f"{what} hold more than {_MOST_CLASSES:,} classes; give fewer")


def _refuse_file_names(vocabulary: Vocabulary, what: str) -> Vocabulary:
    """Refuse words that name word lists, which must be given alone."""
    for words in vocabulary.synonyms:
        for word in words:
            is_list = word.casefold() in list_vocabularies()
            if is_list or Path(word).suffix.lower() in _FILES:
                kind = "a word list of this package" if is_list else "a file"
                raise ValueError(f"{what}: {shown(word)} names {kind}; give it alone, or words")
    return vocabulary


@cache
def _log_once(message: str) -> None:
    _logger.info("%s", message)
