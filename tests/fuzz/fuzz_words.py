"""Words of a command line: `Vocabulary.parse`."""

import random
from pathlib import Path

from harness import Reader
from mutate import mutate_bytes

from ovseg_d2.vocab import Vocabulary

_TEXTS = (
    "red star, grass | lawn, brick = brick wall",
    "sky",
    "a,b,c,d,e",
    "dog = dog | puppy, cat",
)


def _make_case(rng: random.Random, folder: Path) -> str:
    text = rng.choice(_TEXTS)
    if rng.random() < 0.2:
        return text
    return mutate_bytes(rng, text.encode(), 3).decode("utf-8", "replace")


def _check(text: str, vocabulary: Vocabulary) -> str | None:
    if len(vocabulary) != text.count(",") + 1:
        return f"{len(vocabulary)} classes of {text.count(',') + 1} entries"
    return None


READER = Reader("words", _make_case, Vocabulary.parse, _check)
