"""Files of templates of single words: `read_word_templates`."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Reader
from mutate import mutate_bytes, mutate_json

from ovseg_d2.text import read_word_templates, write_word_templates

_WORDS = ("red star", "Straße", "空", "a", "{}")
_TEMPLATES = ("a photo of a {}.", "{}", "the {} here", "한글 {}")
Templates = dict[str, tuple[str, ...]]


@dataclass
class _Case:
    path: Path
    expected: Templates | None  # None where the file was damaged


def _make_case(rng: random.Random, folder: Path) -> _Case:
    path = folder / "templates.json"
    templates = {
        word: tuple(rng.choices(_TEMPLATES, k=rng.randint(1, 3)))
        for word in rng.sample(_WORDS, rng.randint(0, len(_WORDS)))
    }
    write_word_templates(path, templates, "a note")
    damage = rng.choice(("none", "json", "bytes"))
    if damage == "json":
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        for _ in range(rng.randint(1, 3)):
            content = mutate_json(rng, content)
        path.write_text(json.dumps(content), encoding="utf-8")
    elif damage == "bytes":
        path.write_bytes(mutate_bytes(rng, path.read_bytes(), 3))
    return _Case(path, templates if damage == "none" else None)


def _read(case: _Case) -> Templates:
    return read_word_templates(case.path)


def _check(case: _Case, templates: Templates) -> str | None:
    if case.expected is not None and templates != case.expected:
        return f"{templates} instead of {case.expected}"
    for word, own in templates.items():
        if not own or any(template.count("{}") != 1 for template in own):
            return f"the templates of {word!r} are {own}"
    return None


READER = Reader("templates", _make_case, _read, _check)
