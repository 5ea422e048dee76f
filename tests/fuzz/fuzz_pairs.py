"""Files of pairs: `pair_dicts`, and each mask that is read."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Reader
from mutate import ODD_VALUES, mutate_bytes, mutate_json

from ovseg_d2.data.datasets import pair_dicts
from ovseg_d2.masks import MaskPair, encode_masks

SIZE = (5, 7)
RLES = encode_masks(np.random.default_rng(0).random((4, *SIZE)) < 0.5)


@dataclass
class _Case:
    path: Path
    whole: list[tuple[str, str]]  # image and noun of the lines that are undamaged, in order
    readable: bool  # whether the first line and all line ends are undamaged


def _make_case(rng: random.Random, folder: Path) -> _Case:
    entries = [
        {
            "image": f"shapes://train/0/{number}",
            "noun": rng.choice(("red star", "été", "dog")),
            "mask": rng.choice(RLES),
            "caption": "a red star",
            "score": rng.random(),
        }
        for number in range(rng.randint(1, 4))
    ]
    first: Any = {"info": {"masks": "sam", "image_root": ""}}
    lines = [json.dumps(each).encode() for each in (first, *entries)]
    damaged: set[int] = set()
    kind = rng.randrange(4)
    readable = True
    for _ in range(rng.randint(1, 3) if kind else 0):
        at = rng.randrange(len(lines))
        damaged.add(at)
        readable &= at > 0
        if kind == 1:
            lines[at] = json.dumps(mutate_json(rng, (first, *entries)[at])).encode()
        elif kind == 2:
            lines[at] = mutate_bytes(rng, lines[at])
        else:
            lines[at] = rng.choice(_BAD_LINES)
        readable &= b"\n" not in lines[at]
    path = folder / "pairs.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    whole = [
        (each["image"], each["noun"])
        for number, each in enumerate(entries, start=1)
        if number not in damaged
    ]
    return _Case(path, whole, readable)


_BAD_LINES = (
    *(b"", b" ", b"{", b"[" * 5000, b"\xff\xfe", b'{"score": 1' + b"0" * 5000 + b"}"),
    *(json.dumps(value).encode() for value in ODD_VALUES),
)


def _read(case: _Case) -> list[dict[str, Any]]:
    found = pair_dicts(case.path)
    for each in found:
        try:
            each["decoded"] = each["pair"].decode(SIZE)
        except ValueError as error:
            if "\n" in str(error) or len(str(error)) > 1500:
                raise
    return found


def _check(case: _Case, found: list[dict[str, Any]]) -> str | None:
    pairs: list[MaskPair] = [each["pair"] for each in found]
    for pair in pairs:
        if not (isinstance(pair.image, str) and pair.noun.strip() and pair.noun.encode()):
            return f"{pair.image!r} and {pair.noun!r} are no pair"
    rest = iter((pair.image, pair.noun) for pair in pairs)
    if case.readable and not all(each in rest for each in case.whole):
        return f"a whole line is missing among {[(p.image, p.noun) for p in pairs]}"
    for each in found:
        if "decoded" in each and (each["decoded"].shape != SIZE or not each["decoded"].any()):
            return f"a mask is {each['decoded'].shape}, or empty"
    return None


READER = Reader("pairs", _make_case, _read, _check)
