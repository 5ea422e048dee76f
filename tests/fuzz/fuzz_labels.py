"""Label files of every depth, palette and colour, through `LabelReader`.

The truth is drawn first and written as the metadata of the case say, so that no code of the reader
is needed to know it.
"""

import random
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from harness import Reader
from mutate import ODD_VALUES, mutate_bytes
from PIL import Image

from ovseg_d2.d2.data import MetadataCatalog
from ovseg_d2.data.labels import LabelReader

_NAME = "fuzz_labels"
_IGNORED = -100
_CODINGS = ("classes", "ids", "colors", "two ignored")
_KEYS = ("ignore_label", "stuff_dataset_id_to_contiguous_id", "label_palette", "label_ids")


@dataclass
class _Case:
    file: Path
    metadata: dict[str, Any]
    truth: np.ndarray
    damaged: str = ""  # "file" or "metadata"
    notes: dict[str, Any] = field(default_factory=dict)


def _make_case(rng: random.Random, folder: Path) -> _Case:
    num_classes = rng.choice((1, 2, 3, 20, 150, 300))
    height, width = rng.choice((1, 2, 7, 40)), rng.choice((1, 3, 9, 50))
    arrays = np.random.default_rng(rng.randrange(2**32))
    truth = arrays.integers(0, num_classes, (height, width))
    coding = rng.choice(_CODINGS)
    depth = _depth(rng, num_classes, coding)
    # Files of 1 and of few bits have no room for ignored pixels.
    if depth >= 8 and rng.random() < 0.7:
        truth[arrays.random(truth.shape) < 0.3] = _IGNORED
    values, metadata = _code(rng, arrays, truth, num_classes, coding, depth)
    file = folder / rng.choice(("labels.png", "labels.tif", "labels.tiff", "labels"))
    kind = "TIFF" if file.suffix.startswith(".tif") or depth == 32 else "PNG"
    kind = "PNG" if depth in (2, 4) else kind  # Pillow writes no others of few bits
    notes = {"coding": coding, "depth": depth, "classes": num_classes, "kind": kind}
    _write(rng, file, values, depth, kind)
    if rng.random() < 0.5:
        return _Case(file, metadata, truth, notes=notes)
    if rng.random() < 0.7:
        file.write_bytes(mutate_bytes(rng, file.read_bytes(), 3))
        return _Case(file, metadata, truth, "file", notes)
    key = rng.choice(_KEYS)
    metadata = metadata | {key: _odd(rng, metadata.get(key))}
    return _Case(file, metadata, truth, "metadata", notes | {"odd": key})


def _depth(rng: random.Random, num_classes: int, coding: str) -> int:
    """Bits of a value: at least those that the classes and the ignored pixels take."""
    if coding == "colors":
        return 24
    depths = [16, 32]
    if coding == "classes":
        depths += [bits for bits in (2, 4) if num_classes <= 2**bits]
    if num_classes <= 200:
        depths += [8, 8]
    if num_classes <= 2 and coding == "classes":
        depths += [1, 1]
    return rng.choice(depths)


def _code(
    rng: random.Random,
    arrays: np.random.Generator,
    truth: np.ndarray,
    num_classes: int,
    coding: str,
    depth: int,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Values of the file, and the metadata that say what they stand for."""
    ignore = {1: 255, 2: 255, 4: 255, 8: 255, 16: 65535, 24: 255, 32: 2**31 - 1}[depth]
    ignored = [ignore] if coding != "two ignored" else [ignore, ignore - 1]
    metadata: dict[str, Any] = {
        "stuff_classes": [f"c{number}" for number in range(num_classes)],
        "ignore_label": ignored[0] if len(ignored) == 1 and rng.random() < 0.5 else ignored,
    }
    marks = arrays.choice(ignored, truth.shape)
    if coding == "ids":
        most = 250 if depth == 8 else 60000
        ids = rng.sample(range(num_classes, most), num_classes) if num_classes < 100 else None
        ids = ids or list(range(1, num_classes + 1))
        metadata["stuff_dataset_id_to_contiguous_id"] = {v: k for k, v in enumerate(ids)}
        metadata["label_ids"] = "dataset"
        return np.where(truth < 0, marks, np.array(ids)[truth.clip(0)]), metadata
    if coding == "colors":
        packed = rng.sample(range(2**24), num_classes + 1)
        colors = [(each >> 16, each >> 8 & 255, each & 255) for each in packed]
        # Of more classes than the ignore label's 255, that one is out of the way.
        metadata["ignore_label"] = ignore = 1000
        metadata["label_palette"] = dict(zip(colors, [*range(num_classes), ignore], strict=True))
        return np.array(colors, dtype=np.uint8)[np.where(truth < 0, num_classes, truth)], metadata
    return np.where(truth < 0, marks, truth), metadata


def _write(rng: random.Random, file: Path, values: np.ndarray, depth: int, kind: str) -> None:
    if depth in (2, 4):
        file.write_bytes(_grey_png(values, depth))
        return
    if depth == 1:
        image = Image.fromarray(values.astype(bool))
    elif depth == 24:
        image = Image.fromarray(values)
        if rng.random() < 0.3:
            image.putalpha(255)
    else:
        image = Image.fromarray(values.astype({8: np.uint8, 16: np.uint16, 32: np.int32}[depth]))
        if depth == 8 and rng.random() < 0.4:
            image.putpalette(rng.randbytes(768))
    packing = {"compression": rng.choice(("raw", "tiff_lzw", "tiff_adobe_deflate"))}
    image.save(file, kind, **(packing if kind == "TIFF" else {}))


def _grey_png(values: np.ndarray, bits: int) -> bytes:
    digits = ["".join(f"{value:0{bits}b}" for value in row) for row in values.tolist()]
    digits = [row + "0" * (-len(row) % 8) for row in digits]
    rows = [b"\0" + int(row, 2).to_bytes(len(row) // 8, "big") for row in digits]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def _odd(rng: random.Random, value: Any) -> Any:
    """Something else than what the key asks for, or a part of it."""
    if isinstance(value, dict) and value and rng.random() < 0.6:
        changed = dict(value)
        key = rng.choice(list(changed))
        changed[key] = rng.choice(ODD_VALUES)
        return changed
    return rng.choice(ODD_VALUES)


def _read(case: _Case) -> np.ndarray:
    MetadataCatalog.pop(_NAME, None)
    MetadataCatalog.get(_NAME).set(**case.metadata)
    try:
        return LabelReader().read(_NAME, str(case.file))
    except (ValueError, OSError) as error:
        if not case.damaged:
            raise AssertionError(f"what is in order was refused, {case.notes}") from error
        raise


def _check(case: _Case, found: np.ndarray) -> str | None:
    if found.ndim != 2 or found.dtype != np.int64:
        return f"{found.dtype} {found.shape}"
    num_classes = case.notes["classes"]
    if not (((found >= 0) & (found < num_classes)) | (found == _IGNORED)).all():
        return "a value that is neither a class nor ignored"
    # A PNG has checksums: what is read of a damaged one is what was written. A TIFF has none.
    if case.damaged == "metadata" or (case.damaged and case.notes["kind"] == "TIFF"):
        return None
    if not np.array_equal(found, case.truth):
        return f"another answer than the {case.truth.shape} that were written, {case.notes}"
    return None


READER = Reader("labels", _make_case, _read, _check)
