"""Words in every form that a user gives them: `read_words` and a dataset's `stuff_classes`."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Reader
from mutate import ODD_VALUES, mutate_bytes, mutate_json

from ovseg_d2.vocab import Vocabulary, list_vocabularies, metadata_vocabulary, read_words

_WORDS = ("red star", "grass", "lawn", "brick wall", "dog", "puppy", "Straße", "a", "空", "🙂 face")
Classes = list[list[str]]  # of each class its words, the first of which is its name


@dataclass(frozen=True)
class Case:
    """What is read.

    Attributes:
        value: as `read_words` takes it, or a dict of metadata.
        expected: the classes of an undamaged value; None where it was damaged.
    """

    value: Any
    expected: Classes | None


def _draw_classes(rng: random.Random) -> Classes:
    words = rng.sample(_WORDS, rng.randint(1, len(_WORDS)))
    classes: Classes = []
    while words:
        count = rng.choice((1, 1, 1, 2, 3))
        classes.append(words[:count])
        words = words[count:]
    return classes


def _entries(classes: Classes) -> list[str]:
    return [" | ".join(words) for words in classes]


def _lines(rng: random.Random, classes: Classes) -> str:
    text = rng.choice(("\n", "\r\n", "\n\n", "  # a remark, here\n")).join(_entries(classes))
    return text + "\n"  # one class alone is in a list of lines, too


def _json_value(rng: random.Random, classes: Classes) -> Any:
    if rng.random() < 0.5:
        return {words[0]: words[1:] for words in classes}
    return [words[0] if len(words) == 1 else words for words in classes]


def _as_text(rng: random.Random, classes: Classes) -> str:
    forms: tuple[Callable[[], str], ...] = (
        lambda: ", ".join(_entries(classes)),
        lambda: ";".join(_entries(classes)),
        lambda: ",\n".join(_entries(classes)),
        lambda: _lines(rng, classes),
        lambda: json.dumps(_json_value(rng, classes), ensure_ascii=rng.random() < 0.5),
    )
    return rng.choice(forms)()


def _text_case(rng: random.Random, folder: Path, damaged: bool) -> Case:
    classes = _draw_classes(rng)
    text = _as_text(rng, classes)
    if not damaged:
        return Case(text, classes)
    errors = rng.choice(("replace", "surrogateescape", "ignore"))
    return Case(mutate_bytes(rng, text.encode(), 3).decode("utf-8", errors), None)


def _file_case(rng: random.Random, folder: Path, damaged: bool) -> Case:
    classes = _draw_classes(rng)
    is_json = rng.random() < 0.5
    value = _json_value(rng, classes)
    if damaged and is_json and rng.random() < 0.5:
        value = mutate_json(rng, value)
    text = json.dumps(value) if is_json else _lines(rng, classes)
    content = text.encode()
    if damaged:
        content = mutate_bytes(rng, content, 3)
    path = folder / f"words{'.json' if is_json else '.txt'}"
    path.write_bytes(content)
    name = str(path)
    if damaged and rng.random() < 0.1:
        name = mutate_bytes(rng, name.encode(), 1).decode("utf-8", "surrogateescape")
    return Case(rng.choice((str, Path))(name), None if damaged else classes)


def _value_case(rng: random.Random, folder: Path, damaged: bool) -> Case:
    classes = _draw_classes(rng)
    value = _json_value(rng, classes)
    if damaged:
        value = mutate_json(rng, value)
        value = rng.choice((value, {None: value}, {*_WORDS}, b"sky", rng.choice(ODD_VALUES)))
    elif isinstance(value, list):
        value = rng.choice((value, tuple(value), iter(value)))
    return Case(value, None if damaged else classes)


def _metadata_case(rng: random.Random, folder: Path, damaged: bool) -> Case:
    classes = _draw_classes(rng)
    value: Any = [rng.choice((", ".join(words), words)) for words in classes]
    if damaged:
        value = rng.choice((mutate_json(rng, value), rng.choice(ODD_VALUES), {"sky": 0}))
    return Case({"stuff_classes": value}, None if damaged else classes)


def _named_case(rng: random.Random, folder: Path, damaged: bool) -> Case:
    name = rng.choice(list_vocabularies())
    if damaged:
        name = rng.choice((f"{name}, sky", f"sky\n{name}", f"{name}.txt", [name, "sky"]))
    return Case(name, None)


_MAKERS = (_text_case, _text_case, _file_case, _value_case, _metadata_case, _named_case)


def _make_case(rng: random.Random, folder: Path) -> Case:
    return rng.choice(_MAKERS)(rng, folder, rng.random() < 0.7)


def _read(case: Case) -> Vocabulary | None:
    if isinstance(case.value, dict) and "stuff_classes" in case.value:
        return metadata_vocabulary(case.value, "dataset 'fuzzed'")
    return read_words(case.value)


def _check(case: Case, found: Vocabulary | None) -> str | None:
    if found is None:
        value = case.value["stuff_classes"]
        return None if value is None or value == [] else "no classes"
    if case.expected is not None:
        words = tuple(tuple(each) for each in case.expected)
        if found.synonyms != words:
            return f"{found.synonyms} instead of {words}"
        return None
    # Of damaged input: words that a prompt can hold, and none that shows how it was written.
    for word in (word for words in (found.names, *found.synonyms) for word in words):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            return f"the word {word!r} is no text"
        if word != " ".join(word.split()) or not word or len(word) > 1000 or "\0" in word:
            return f"the word {word!r} cannot be one"
        if word.lower().endswith((".txt", ".json")):
            return f"the word {word!r} is a file"
    return None


READER = Reader("words", _make_case, _read, _check)
