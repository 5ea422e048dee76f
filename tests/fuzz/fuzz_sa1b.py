"""Files of SA-1B's masks: `read_halved`."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from harness import Reader
from mutate import mutate_bytes, mutate_json

from ovseg_d2.masks import encode_masks, read_masks
from ovseg_d2.prepare.datasets.sa1b_halving import read_halved

SIZE = (9, 13)


def _make_case(rng: random.Random, folder: Path) -> Path:
    masks = np.random.default_rng(rng.randrange(2**32)).random((rng.randint(0, 3), *SIZE)) < 0.5
    fields = {"bbox": [0, 1.5, 4, 3], "point_coords": [[2.5, 3]], "crop_box": [0, 0, 13, 9]}
    content: Any = {
        "image": {"height": SIZE[0], "width": SIZE[1], "file_name": "sa_1.jpg", "image_id": 1},
        "annotations": [
            {"segmentation": runs, "id": at, "area": 1, "predicted_iou": 0.9, **fields}
            for at, runs in enumerate(encode_masks(masks))
        ],
    }
    kind = rng.randrange(3)
    for _ in range(rng.randint(1, 3) if kind == 1 else 0):
        content = mutate_json(rng, content)
    data = json.dumps(content).encode()
    path = folder / "sa_1.json"
    path.write_bytes(mutate_bytes(rng, data) if kind == 2 else data)
    return path


def _read(path: Path) -> tuple[Path, dict[str, Any]]:
    halved = read_halved(path)
    output = path.with_name("halved.json")
    output.write_text(json.dumps(halved))
    return output, halved


def _check(path: Path, answer: tuple[Path, dict[str, Any]]) -> str | None:
    output, halved = answer
    size = halved["image"]["height"], halved["image"]["width"]
    masks = read_masks(output, size)
    if len(masks) != len(halved["annotations"]) or not masks.any(axis=(1, 2)).all():
        return f"{len(masks)} masks for {len(halved['annotations'])} entries, or an empty one"
    return None


READER = Reader("SA-1B", _make_case, _read, _check)
