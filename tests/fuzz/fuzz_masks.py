"""Mask files: `read_masks` on run lengths, polygons and arrays, alone and as SAM's list."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Reader
from mutate import mutate_bytes, mutate_json

from ovseg_d2.masks import encode_masks, read_masks

SIZE = (9, 13)


@dataclass
class _Case:
    path: Path
    expected: np.ndarray | None  # of an undamaged file


def _rectangles(rng: random.Random) -> list[tuple[int, int, int, int]]:
    """Boxes x0, y0, x1, y1 that are not empty."""
    found = []
    for _ in range(rng.randint(1, 3)):
        x0, y0 = rng.randrange(SIZE[1]), rng.randrange(SIZE[0])
        found.append((x0, y0, rng.randint(x0 + 1, SIZE[1]), rng.randint(y0 + 1, SIZE[0])))
    return found


def _segmentation(rng: random.Random, mask: np.ndarray, box: tuple[int, int, int, int]) -> Any:
    x0, y0, x1, y1 = box
    runs = [0] if mask.T.flat[0] else []
    flat = mask.T.ravel()
    ends = [*np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size]
    runs += [int(end - start) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return rng.choice(
        (
            encode_masks(mask[None])[0],
            {"size": list(SIZE), "counts": runs},
            [[x0, y0, x1, y0, x1, y1, x0, y1]],
            mask.tolist(),
            mask.astype(int).tolist(),
        )
    )


def _make_case(rng: random.Random, folder: Path) -> _Case:
    boxes = _rectangles(rng)
    masks = np.zeros((len(boxes), *SIZE), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    entries = [
        {"segmentation": _segmentation(rng, mask, box), "bbox": list(box), "area": 1, "id": 0}
        for mask, box in zip(masks, boxes, strict=True)
    ]
    image = {"height": SIZE[0], "width": SIZE[1], "file_name": "a.jpg"}
    content: Any = entries
    if rng.random() < 0.7:
        content = {"image": image, "annotations": entries, "info": {"source": "sam"}}
    path = folder / "a.json"
    kind = rng.randrange(4)
    for _ in range(rng.randint(1, 3) if kind == 1 else 0):
        content = mutate_json(rng, content)
    data = json.dumps(content).encode()
    if kind == 2:
        data = mutate_bytes(rng, data)
    path.write_bytes(data)
    return _Case(path, masks if kind in (0, 3) else None)


def _check(case: _Case, found: np.ndarray) -> str | None:
    if case.expected is not None:
        same = found.shape == case.expected.shape and (found == case.expected).all()
        return None if same else "undamaged masks are read as others"
    if found.dtype != bool or found.shape[1:] != SIZE:
        return f"masks are {found.shape} of {found.dtype}"
    content = json.loads(case.path.read_bytes())
    entries = content if isinstance(content, list) else content["annotations"]
    if len(entries) != len(found):
        return f"{len(found)} masks of {len(entries)} entries"
    for mask, entry in zip(found, entries, strict=True):
        fault = _compare(mask, entry["segmentation"])
        if fault:
            return fault
    return None


def _compare(mask: np.ndarray, segmentation: Any) -> str | None:
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        runs = counts if isinstance(counts, list) else _runs_of_text(counts)
        pixels = [bool(number % 2) for number, run in enumerate(runs) for _ in range(run)]
        return None if mask.T.ravel().tolist() == pixels else "run lengths are read as others"
    if np.shape(segmentation) == SIZE and mask.tolist() == segmentation:
        return None
    # Polygons reach no further than their corners.
    x = [value for polygon in segmentation for value in polygon[0::2]]
    y = [value for polygon in segmentation for value in polygon[1::2]]
    rows, columns = np.nonzero(mask)
    inside = not len(rows) or (
        min(x) - 1 <= columns.min() <= columns.max() <= max(x) + 1
        and min(y) - 1 <= rows.min() <= rows.max() <= max(y) + 1
    )
    return None if inside else "a polygon's mask leaves its corners"


def _runs_of_text(text: str) -> list[int]:
    """COCO's compressed run lengths, character by character."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


READER = Reader("masks", _make_case, lambda case: read_masks(case.path, SIZE), _check)
