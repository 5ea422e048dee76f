"""Files of captions: `read_coco_captions` and `caption_dicts`."""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Reader
from mutate import ODD_VALUES, mutate_bytes, mutate_json

from ovseg_d2.data.datasets import caption_dicts
from ovseg_d2.mining import read_coco_captions

_CAPTIONS = ("a dog", "Two giraffes under a tree.", "한글 été", "grass")
_BAD_LINES = (
    *(b"{", b"[" * 5000, b"\xff\xfe", b'{"captions": 1' + b"0" * 5000 + b"}"),
    *(json.dumps(value).encode() for value in ODD_VALUES),
)


@dataclass
class _Case:
    path: Path
    lines: bool  # one JSON object a line, else COCO's file
    expected: dict[str, tuple[str, ...]]  # captions that have to be found
    all_known: bool  # and no others


def _make_case(rng: random.Random, folder: Path) -> _Case:
    captions = {
        f"{number}.jpg": tuple(rng.choices(_CAPTIONS, k=rng.randint(1, 3)))
        for number in range(rng.randint(1, 4))
    }
    make = _make_lines if rng.random() < 0.5 else _make_coco
    return make(rng, folder / "captions.json", captions)


def _make_lines(rng: random.Random, path: Path, captions: dict[str, tuple[str, ...]]) -> _Case:
    entries = [{"file_name": name, "captions": list(texts)} for name, texts in captions.items()]
    lines = [json.dumps(entry).encode() for entry in entries]
    kind = rng.randrange(4)
    damaged, ends = set(), False
    for _ in range(rng.randint(1, 3) if kind else 0):
        at = rng.randrange(len(lines))
        damaged.add(f"{at}.jpg")
        if kind == 1:
            lines[at] = json.dumps(mutate_json(rng, entries[at])).encode()
        elif kind == 2:
            lines[at] = mutate_bytes(rng, lines[at])
        else:
            lines[at] = rng.choice(_BAD_LINES)
        ends |= b"\n" in lines[at]
    path.write_bytes(b"\n".join(lines))
    whole = {name: texts for name, texts in captions.items() if name not in damaged}
    return _Case(path, True, {} if ends else whole, not damaged)


def _make_coco(rng: random.Random, path: Path, captions: dict[str, tuple[str, ...]]) -> _Case:
    content: Any = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(captions)],
        "annotations": [
            {"image_id": number, "caption": text}
            for number, texts in enumerate(captions.values())
            for text in texts
        ],
    }
    kind = rng.randrange(3)
    for _ in range(rng.randint(1, 3) if kind == 1 else 0):
        content = mutate_json(rng, content)
    data = json.dumps(content).encode()
    if kind == 2:
        data = mutate_bytes(rng, data)
    path.write_bytes(data)
    return _Case(path, False, {} if kind else captions, not kind)


def _read(case: _Case) -> dict[str, tuple[str, ...]]:
    if not case.lines:
        return read_coco_captions(case.path).captions
    found: dict[str, tuple[str, ...]] = {}
    for entry in caption_dicts(case.path):
        name = os.path.relpath(entry["file_name"], case.path.parent)
        # Of a damaged name that is another line's, either may be the undamaged one.
        found[name] = found.get(name, ()) + tuple(entry["captions"])
    return found


def _check(case: _Case, found: dict[str, tuple[str, ...]]) -> str | None:
    for name, texts in found.items():
        os.fsencode(name)
        if "\0" in name or not texts or not all(text.encode() or case.lines for text in texts):
            return f"{name!r} has the captions {texts!r}"
    if case.all_known and found != case.expected:
        return f"an undamaged file is read as {found}"
    for name, texts in case.expected.items():
        if any(text not in found.get(name, ()) for text in texts):
            return f"the captions of {name} are missing in {found}"
    return None


READER = Reader("captions", _make_case, _read, _check)
