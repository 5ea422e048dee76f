"""Images: files of every format (`read_image_of`), names of a command line, arrays and tensors."""

import os
import random
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import tifffile
import torch
from harness import Reader
from mutate import mutate_bytes
from PIL import Image

from ovseg_d2.data import bit_depth
from ovseg_d2.data.arrays import as_rgb
from ovseg_d2.data.find_images import find_images
from ovseg_d2.data.readers import read_image_of

_LOSSLESS = {
    "RGB": (".png", ".bmp", ".tif", ".ppm", ".tga", ".webp", ".jp2"),
    "L": (".png", ".bmp", ".tif", ".pgm", ".tga", ".gif", ".jp2"),
    "RGBA": (".png", ".tif", ".tga", ".webp"),
    "1": (".png", ".bmp", ".tif", ".pbm"),
}
_DEEP_BITS = (10, 12, 16)
# What an orientation of EXIF does to the pixels that are stored.
_TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, -1)[::-1],
    8: lambda pixels: np.rot90(pixels),
}
_NAMES = (
    *("https://host/a.png", "http://h/*.jpg?x=[1]", "file:///tmp/a.png", "s3://b/a.png", ""),
    *("shapes://dev/0/3", "shapes://dev/0/3-5", "shapes://train/7/", "shapes://val/0/0#crop"),
    *("shapes://train/0/0-100000000000", "shapes://dev/0/5-3", "shapes://dev/0/" + "9" * 5000),
    *("/dev/zero", "/dev/null", "/dev/stdin", "/", "~no_such_user/a.png", "**/*.png", "[", "."),
    *("x" * 300 + ".png", "a\0b.png", "\ud800.png", "ovseg_shapes_val", "/proc/self/mem"),
)


@dataclass(frozen=True, eq=False)
class _Case:
    """What is read, and the answer it must give.

    Attributes:
        what: "file", "name" or "array".
        given: a path, a name, or an array, tensor or other object.
        expected: (H, W, 3) of the answer; None where anything of the right form will do.
        most: levels that the answer may be off by.
        how: what was made, for a report.
    """

    what: str
    given: Any
    expected: np.ndarray | None
    most: int
    how: str

    def __repr__(self) -> str:
        return f"{self.what} {self.given if self.what != 'array' else ''!r:.300} {self.how}"


def _make_case(rng: random.Random, folder: Path) -> _Case:
    return rng.choices((_make_file, _make_name, _make_array), (6, 1, 3))[0](rng, folder)


def _draw(rng: random.Random, channels: int, high: int = 256) -> np.ndarray:
    generator = np.random.default_rng(rng.randrange(2**32))
    sides = rng.choice((1, 2, 3, 4, 7, 24)), rng.choice((1, 2, 3, 4, 9, 33))
    dtype = np.uint8 if high == 256 else np.uint16
    return generator.integers(0, high, (*sides, channels), dtype=dtype)


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """In floating point; grey and RGB as they are, three channels."""
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:] / 255
    return np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha))


def _make_file(rng: random.Random, folder: Path) -> _Case:
    kind = rng.choice(("plain", "plain", "deep", "jpeg"))
    maker = {"plain": _plain_file, "deep": _deep_file, "jpeg": _jpeg_file}[kind]
    path, expected, most = maker(rng, folder)
    how = kind
    if rng.random() < 0.75:
        data = mutate_bytes(rng, path.read_bytes(), 4)
        path.write_bytes(data)
        expected, how = None, f"{kind}, damaged"
    return _Case("file", str(path), expected, most, how)


def _plain_file(rng: random.Random, folder: Path) -> tuple[Path, np.ndarray, int]:
    mode = rng.choice(list(_LOSSLESS))
    suffix = rng.choice(_LOSSLESS[mode])
    pixels = _draw(rng, {"RGB": 3, "RGBA": 4}.get(mode, 1))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if mode == "1":
        image = image.point(lambda level: 255 * (level > 127), "1")
        pixels = np.where(pixels > 127, 255, 0)
    options: dict[str, Any] = {".webp": {"lossless": True, "exact": True}}.get(suffix, {})
    turn = 1
    if suffix in (".png", ".tif", ".webp") and rng.random() < 0.4:
        turn = rng.randint(1, 8)
        exif = Image.Exif()
        exif[0x0112] = turn
        options = {**options, "exif": exif}
    path = folder / f"image{suffix}"
    image.save(path, **options)
    return path, _TURNS[turn](_on_white(pixels)), 0


def _deep_file(rng: random.Random, folder: Path) -> tuple[Path, np.ndarray, int]:
    """16 bits, of which 10, 12 or all are used; the brightest value is there."""
    bits = rng.choice(_DEEP_BITS)
    pixels = _draw(rng, rng.choice((1, 3)), 1 << bits)
    pixels[0, 0] = (1 << bits) - 1
    if rng.random() < 0.5:
        path = folder / "image.tif"
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.shape[2] == 3 else "minisblack")
    else:
        path = folder / "image.png"
        path.write_bytes(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes())
    return path, _on_white(pixels // 2 ** (bits - 8)), 0


def _jpeg_file(rng: random.Random, folder: Path) -> tuple[Path, np.ndarray, int]:
    """A single colour, which the compression keeps."""
    color = np.array([rng.randrange(256) for _ in range(3)], np.uint8)
    pixels = np.tile(color, (rng.randint(1, 20), rng.randint(1, 20), 1))
    path = folder / "image.jpg"
    Image.fromarray(pixels).save(path, quality=100, subsampling=0)
    return path, pixels, 4


def _make_name(rng: random.Random, folder: Path) -> _Case:
    name = rng.choice(_NAMES)
    if rng.random() < 0.3:
        raw = mutate_bytes(rng, name.encode("utf-8", "surrogatepass"), 2)
        name = os.fsdecode(raw)
    if rng.random() < 0.1:
        name = str(folder / "pipe.png")
        os.mkfifo(name)
    return _Case("name", name, None, 0, "")


def _make_array(rng: random.Random, folder: Path) -> _Case:
    pixels = _draw(rng, rng.choice((1, 3, 4)))
    if pixels.shape[0] in (1, 3, 4) or pixels.shape[1] in (1, 3, 4):
        pixels = np.tile(pixels, (5, 5, 1))
    expected: np.ndarray | None = _on_white(pixels)
    given: Any = pixels if rng.random() < 0.5 else pixels.transpose(2, 0, 1)
    if pixels.shape[2] == 1 and rng.random() < 0.3:
        given = pixels[..., 0]
    if rng.random() < 0.5:
        given = (given / 255).astype(rng.choice((np.float32, np.float64)))
    if rng.random() < 0.4:
        expected, given = None, _spoil(rng, given)
    if isinstance(given, np.ndarray) and given.dtype != object and rng.random() < 0.5:
        try:
            given = torch.from_numpy(np.ascontiguousarray(given))
        except TypeError:  # a dtype that torch has not
            expected = None
    return _Case("array", given, expected, 1, _describe(given))


def _spoil(rng: random.Random, array: np.ndarray) -> Any:
    kind = rng.randrange(7)
    if kind == 0:
        return array.astype(rng.choice((bool, np.int64, np.uint16, np.complex64, object, "U3")))
    if kind == 1:
        return array.astype(np.float32) + rng.choice((-2, 2, 255, float("nan"), float("inf")))
    if kind == 2:
        return rng.choice((array[None], array[..., None, None], array.reshape(-1), array[:0]))
    if kind == 3:
        return rng.choice(
            (None, 3, "", b"", [], [array], {"image": array}, object(), array.tolist())
        )
    if kind == 4:
        return np.moveaxis(array, 0, -1)
    if kind == 5:
        return np.concatenate([array, array], axis=-1)
    return np.random.default_rng(rng.randrange(99)).random(array.shape, np.float32) * rng.choice(
        (1, 1.1, 255)
    )


def _describe(given: Any) -> str:
    return f"{type(given).__name__} {getattr(given, 'shape', '')} {getattr(given, 'dtype', '')}"


def _read(case: _Case) -> Any:
    with warnings.catch_warnings(), mock.patch.object(bit_depth, "_note"):
        warnings.simplefilter("ignore")  # Pillow's, of damaged tags
        return _read_loudly(case)


def _read_loudly(case: _Case) -> Any:
    if case.what == "file":
        return read_image_of(case.given)
    if case.what == "array":
        return as_rgb(case.given)
    return read_image_of(find_images([case.given])[0])


def _check(case: _Case, answer: Any) -> str | None:
    if not isinstance(answer, np.ndarray) or answer.dtype != np.uint8:
        return f"no array of uint8: {answer!r:.100}"
    if answer.ndim != 3 or answer.shape[2] != 3 or answer.size == 0:
        return f"shape {answer.shape}"
    if case.expected is None:
        return None
    if answer.shape != case.expected.shape:
        return f"shape {answer.shape} instead of {case.expected.shape}"
    off = int(abs(answer.astype(int) - case.expected.astype(int)).max())
    return f"off by {off} levels" if off > case.most else None


READER = Reader("images", _make_case, _read, _check)
