"""Where a picture looks like a word: the image under a map of confidence, with a colour bar."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ovseg_d2.files import write_atomically
from ovseg_d2.viz.overlay import (
    _FONT_SIZES,
    _INK,
    _MIN_WIDTH,
    _PAPER,
    _WIDTH_PER_FONT_SIZE,
    _shorten,
    _visible_size,
)

__all__ = ["Heatmaps", "draw_heatmap"]

# Dark to bright, evenly to the eye and in print: what is not meant recedes into the dark.
_COLOR_MAP = "inferno"
# UTF-8 bytes of a word in a file name, of the 255 that file systems allow the whole.
_SLUG_BYTES = 80


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """A picture and how much each of its pixels looks like each word; equal where all of it is.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        maps: word -> (H, W) float32.
        measure: what the maps hold: the "probability" of the word among all of them, in 0..1; of
            a word that is alone the "cosine" of its text and the pixel; or the "attention" that
            the image as a whole pays to the pixel for the word's sake.
        note: a sentence that each drawing shows, such as that weights are random.
    """

    image: NDArray[np.uint8]
    maps: Mapping[str, NDArray[np.float32]]
    measure: Literal["probability", "cosine", "attention"]
    note: str = ""

    def __eq__(self, other: object) -> bool:
        """Compare image, words, maps, measure and note."""
        if not isinstance(other, Heatmaps):
            return NotImplemented
        return (
            (self.measure, self.note) == (other.measure, other.note)
            and list(self.maps) == list(other.maps)
            and np.array_equal(self.image, other.image)
            and all(np.array_equal(self.maps[word], other.maps[word]) for word in self.maps)
        )

    @property
    def kind(self) -> str:
        """What its files are called: "attention", or "heatmap" for the others."""
        return "attention" if self.measure == "attention" else "heatmap"

    def summary(self, name: str = "segmentation") -> dict[str, Any]:
        """The measure, and for each word its file and its lowest, highest and mean value.

        Args:
            name: of the picture, as for `save`.
        """
        words = {}
        files = _file_names(self.maps, name, self.kind)
        for (word, values), file in zip(self.maps.items(), files, strict=True):
            stats = {"min": values.min(), "max": values.max(), "mean": values.mean(dtype=float)}
            words[word] = {"file": file, **{key: round(float(v), 6) for key, v in stats.items()}}
        note = {"note": self.note} if self.note else {}
        return {"measure": self.measure, **note, "words": words}

    def draw(self, word: str, *, alpha: float = 0.6) -> Image.Image:
        """The picture under the map of one word; see :func:`draw_heatmap`.

        Colours span 0 to 1 for probabilities, so that the words' pictures can be compared, and 0
        to what is highest here for attention. For cosines they span what occurs in the picture, for
        cosines lie close together.

        Raises:
            ValueError: no map of that word.
        """
        if word not in self.maps:
            raise ValueError(f"{word!r} has no heat map; there are {list(self.maps)}")
        span: tuple[float, float] | None
        if self.measure == "probability":
            span, label = (0.0, 1.0), f"probability among {len(self.maps)} words"
        elif self.measure == "attention":
            highest = float(self.maps[word].max())
            span, label = (0.0, highest) if highest > 0 else None, "attention, up to the most here"
        else:
            span, label = None, "cosine, lowest to highest here"
        return draw_heatmap(
            self.image,
            self.maps[word],
            word,
            span=span,
            label=label,
            alpha=alpha,
            note=self.note,
        )

    def save(self, folder: str | os.PathLike[str], name: str = "segmentation") -> dict[str, Path]:
        """Write ``<name>_heatmap_<word>.png``, or ``<name>_attention_<word>.png``, for each word.

        In file names words are in small letters, with hyphens for all that is neither letter nor
        digit, shortened where they are long and numbered where two would meet.

        Returns:
            word -> path. Each file appears whole or not at all.

        Raises:
            WriteError: a file cannot be written.
        """
        files = _file_names(self.maps, name, self.kind)
        paths = {word: Path(folder) / file for word, file in zip(self.maps, files, strict=True)}
        for word, path in paths.items():
            with write_atomically(path) as file:
                self.draw(word).save(file, format="PNG")
        return paths


def draw_heatmap(
    image: NDArray[np.uint8],
    confidence: NDArray[np.floating],
    title: str,
    *,
    span: tuple[float, float] | None = None,
    label: str = "",
    alpha: float = 0.6,
    note: str = "",
) -> Image.Image:
    """Lay a map of confidence over an image, with title and colour bar below it.

    The image lies at the top left of the result, enlarged where it is small, as by `draw_overlay`.

    Source: [maskclip] Fig. 1 (c), the confidence map of one word.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) finite numbers.
        title: the word; shortened where it is too long for the picture.
        span: values of the first and the last colour; what lies outside gets the nearer one. None:
            the lowest and the highest there are; where they are equal, all is of the first colour.
        label: what the numbers are.
        alpha: weight of the colours in 0..1.
        note: a sentence below the label.

    Returns:
        RGB picture.

    Raises:
        ValueError: image or confidence of another shape or dtype, numbers that are not finite, a
            span that does not rise, or alpha outside 0..1.
    """
    _check(image, confidence, span, alpha)
    low, high = (float(confidence.min()), float(confidence.max())) if span is None else span
    colors = _color_table()
    share = (confidence.astype(np.float64) - low) / ((high - low) or 1.0)
    heat = colors[np.rint(255 * share.clip(0, 1)).astype(np.uint8)]
    picture = Image.blend(Image.fromarray(image), Image.fromarray(heat), alpha)
    picture = picture.resize(_visible_size(picture.size), Image.Resampling.NEAREST)

    ends = (f"{low:.3g}", f"{high:.3g}")
    strip = _draw_strip(
        [line for line in (title, label, note) if line], ends, max(picture.width, _MIN_WIDTH)
    )
    canvas = Image.new("RGB", (strip.width, picture.height + strip.height), _PAPER)
    canvas.paste(picture, (0, 0))
    canvas.paste(strip, (0, picture.height))
    return canvas


def _check(
    image: NDArray[np.uint8],
    confidence: NDArray[np.floating],
    span: tuple[float, float] | None,
    alpha: float,
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ValueError(
            f"image has shape {image.shape} and dtype {image.dtype}; give (H, W, 3) uint8 RGB"
        )
    if confidence.shape != image.shape[:2] or not np.issubdtype(confidence.dtype, np.floating):
        raise ValueError(
            f"confidence has shape {confidence.shape} and dtype {confidence.dtype}; give floats of "
            f"the image's {image.shape[:2]}"
        )
    if not np.isfinite(confidence).all():
        raise ValueError("confidence holds NaN or infinity, which has no colour; remove it first")
    if span is not None and not (np.isfinite(span).all() and span[0] < span[1]):
        raise ValueError(f"span is {span}; give two numbers that rise, or None")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in 0..1")


@lru_cache(maxsize=1)
def _color_table() -> NDArray[np.uint8]:
    """(256, 3) uint8 RGB, from the lowest value to the highest."""
    # Here and not above: loading matplotlib takes most of a second, and few runs draw.
    from matplotlib import colormaps

    table = np.rint(255 * colormaps[_COLOR_MAP](np.arange(256))[:, :3]).astype(np.uint8)
    table.setflags(write=False)
    return table


def _draw_strip(lines: list[str], ends: tuple[str, str], width: int) -> Image.Image:
    """Lines of text, and below them the colour bar between the numbers it stands for."""
    em = min(max(width // _WIDTH_PER_FONT_SIZE, _FONT_SIZES[0]), _FONT_SIZES[1])
    font = ImageFont.load_default(size=em)
    margin, line_height = em // 2, em * 3 // 2
    strip = Image.new("RGB", (width, (len(lines) + 1) * line_height + margin), _PAPER)
    draw = ImageDraw.Draw(strip)
    middle = margin // 2 + line_height // 2
    for line in lines:
        text = _shorten(" ".join(line.split()), font, width - 2 * margin)
        draw.text((margin, middle), text, _INK, font, "lm")
        middle += line_height
    draw.text((margin, middle), ends[0], _INK, font, "lm")
    draw.text((width - margin, middle), ends[1], _INK, font, "rm")
    left = 2 * margin + round(font.getlength(ends[0]))
    right = width - 2 * margin - round(font.getlength(ends[1]))
    index = np.rint(np.linspace(0, 255, right - left)).astype(np.uint8)
    strip.paste(
        Image.fromarray(np.tile(_color_table()[index], (em, 1, 1))), (left, middle - em // 2)
    )
    return strip


def _file_names(words: Iterable[str], name: str, kind: str) -> list[str]:
    """The file of each word for a picture of a name; no two are alike to any file system."""
    slugs: dict[str, None] = {}
    for word in words:
        stem = slug = _slug(word)
        number = 1
        while slug in slugs:
            number += 1
            slug = f"{stem}-{number}"
        slugs[slug] = None
    return [f"{name}_{kind}_{slug}.png" for slug in slugs]


def _slug(word: str) -> str:
    """A word in letters and digits of its own script, folded, with hyphens for all others."""
    for _ in range(2):  # folding may undo the normal form, and the reverse
        word = unicodedata.normalize("NFKC", word.casefold())
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else "-" for c in word)
    slug = "-".join(part for part in kept.split("-") if part)
    return slug.encode()[:_SLUG_BYTES].decode(errors="ignore").rstrip("-") or "word"
