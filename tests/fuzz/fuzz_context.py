"""Pascal Context's sources: trainval_merged.json, and MATLAB files with a LabelMap."""

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.io
from harness import Reader
from mutate import mutate_bytes, mutate_json
from PIL import Image

from ovseg_d2.masks import encode_masks
from ovseg_d2.prepare.datasets import prepare_context, prepare_context459

_HOME, _NAME = "VOCdevkit/VOC2010", "2008_000002"
_SIZE = (5, 7)
_MASKS = np.random.default_rng(0).random((4, *_SIZE)) < 0.5
_RLES = encode_masks(_MASKS)
_CATEGORIES = {2: 1, 284: 37, 458: 59, 0: 0}  # category -> label of Context-60


@dataclass
class _Case:
    root: Path
    file: Path
    truth: np.ndarray
    damaged: bool


def _make_case(rng: random.Random, folder: Path) -> _Case:
    home = folder / _HOME
    (home / "JPEGImages").mkdir(parents=True)
    (home / "trainval").mkdir()
    Image.new("RGB", _SIZE[::-1]).save(home / "JPEGImages" / f"{_NAME}.jpg")
    (home / "pascalcontext_val.txt").write_text(f"{_NAME}\n")
    damaged = rng.random() < 0.6
    if rng.random() < 0.5:
        truth = np.random.default_rng(rng.randrange(2**32)).integers(0, 459, _SIZE)
        file, content = home / "trainval" / f"{_NAME}.mat", _mat(rng, truth)
    else:
        truth, value = _merged(rng)
        file = home / "trainval_merged.json"
        if damaged and rng.random() < 0.7:
            value = mutate_json(rng, value)
        elif damaged:
            file.write_bytes(mutate_bytes(rng, json.dumps(value).encode()))
            return _Case(folder, file, truth, damaged)
        file.write_text(json.dumps(value))
        return _Case(folder, file, truth, damaged)
    file.write_bytes(mutate_bytes(rng, content) if damaged else content)
    return _Case(folder, file, truth, damaged)


def _mat(rng: random.Random, truth: np.ndarray) -> bytes:
    stream = io.BytesIO()
    values = (truth + 1).astype(rng.choice((np.uint16, np.float64, np.int32)))
    scipy.io.savemat(stream, {"LabelMap": values}, do_compression=rng.random() < 0.5)
    return stream.getvalue()


def _merged(rng: random.Random) -> tuple[np.ndarray, object]:
    truth, segments = np.zeros(_SIZE, int), []
    for number in range(rng.randint(0, 4)):
        category = rng.choice(list(_CATEGORIES))
        segment = {"id": number, "image_id": 1, "category_id": category}
        which = rng.randrange(len(_RLES))
        segments.append({**segment, "segmentation": _RLES[which]})
        truth[_MASKS[which]] = _CATEGORIES[category]
    image = {"file_name": f"{_NAME}.jpg", "phase": "val", "image_id": 1}
    images = [{**image, "height": _SIZE[0], "width": _SIZE[1]}]
    return truth, {"images": images, "annos_segmentation": segments}


def _read(case: _Case) -> np.ndarray:
    if case.file.suffix == ".mat":
        report, label = prepare_context459(case.root, workers=1), f"pc459_val/{_NAME}.tif"
    else:
        report, label = prepare_context(case.root, workers=1), f"context60_val/{_NAME}.png"
    if report.problems:
        raise SystemExit(report.problems[0])
    path = case.root / _HOME / "annotations_detectron2" / label
    return np.asarray(Image.open(path)) if path.is_file() else np.zeros(0)


def _check(case: _Case, answer: np.ndarray) -> str | None:
    if not case.damaged and not np.array_equal(answer, case.truth):
        return f"{answer} instead of {case.truth}"
    return None


READER = Reader("context", _make_case, _read, _check)
