"""Karpathy's splits of captions: `karpathy_entries`."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Reader
from mutate import mutate_json

from ovseg_d2.prepare.datasets.captions import karpathy_entries


@dataclass
class _Case:
    content: Any
    count: int | None  # of entries, if the content is undamaged


def _make_case(rng: random.Random, folder: Path) -> _Case:
    splits = rng.choices(("test", "val", "train", "restval"), k=rng.randint(0, 4))
    content: Any = {
        "images": [
            {
                "filepath": "val2014",
                "filename": f"COCO_val2014_{at:012}.jpg",
                "split": split,
                "sentences": [{"raw": rng.choice(("A dog.", " Two\ndogs ", "한글"))}],
            }
            for at, split in enumerate(splits)
        ]
    }
    count = sum(split in ("train", "restval") for split in splits)
    damages = rng.randint(0, 3)
    for _ in range(damages):
        content = mutate_json(rng, content)
    return _Case(content, None if damages else count)


def _read(case: _Case) -> list[dict[str, Any]]:
    return karpathy_entries(case.content, "train")


def _check(case: _Case, entries: list[dict[str, Any]]) -> str | None:
    json.dumps(entries).encode()
    if case.count is not None and len(entries) != case.count:
        return f"{len(entries)} entries instead of {case.count}"
    for entry in entries:
        if ".." in entry["file_name"] or not isinstance(entry["captions"], list):
            return f"an entry is {entry}"
    return None


READER = Reader("Karpathy's splits", _make_case, _read, _check)
