"""Heat maps of words: an image under a map of confidence, with a colour bar."""

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
from PIL import Image, ImageDraw

from ovseg_d2.files import write_atomically
from ovseg_d2.viz.canvas import (
    INK,
    PAPER,
    check_image,
    enlarge,
    load_font,
    put_below,
    shorten,
    strip_width,
)

__all__ = ["Heatmaps", "draw_heatmap"]

_COLOR_MAP = "inferno"  # dark to bright, perceptually uniform
# UTF-8 bytes of a word in a file name, of which file systems allow 255 in all.
_SLUG_BYTES = 80


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """An image and a map of its pixels for every word; ``==`` compares all attributes.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        maps: word -> (H, W) float32.
        measure: content of the maps: "probability" of the word among all words, in 0..1; "cosine"
            of text and pixel, for a single word; or "attention" of the class token for the word.
        note: a sentence in all drawings, such as that weights are random.
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
        """The kind in file names: "attention", or "heatmap" for the other measures."""
        return "attention" if self.measure == "attention" else "heatmap"

    def summary(self, name: str = "segmentation") -> dict[str, Any]:
        """Return the measure, and per word its file and its lowest, highest and mean value.

        Args:
            name: start of the file names, as for `save`.
        """
        words = {}
        files = _file_names(self.maps, name, self.kind)
        for (word, values), file in zip(self.maps.items(), files, strict=True):
            stats = {"min": values.min(), "max": values.max(), "mean": values.mean(dtype=float)}
            words[word] = {"file": file, **{key: round(float(v), 6) for key, v in stats.items()}}
        note = {"note": self.note} if self.note else {}
        return {"measure": self.measure, **note, "words": words}

    def draw(self, word: str, *, alpha: float = 0.6) -> Image.Image:
        """Draw the map of one word over the image; see `draw_heatmap`.

        Colours span 0 to 1 for probabilities, so that words can be compared; 0 to the highest value
        for attention; and the lowest to the highest value for cosines, which differ little.

        Raises:
            ValueError: a word without a map.
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
        options: dict[str, Any] = {"span": span, "label": label, "alpha": alpha, "note": self.note}
        return draw_heatmap(self.image, self.maps[word], word, **options)

    def save(self, folder: str | os.PathLike[str], name: str = "segmentation") -> dict[str, Path]:
        """Write ``<name>_heatmap_<word>.png`` or ``<name>_attention_<word>.png`` per word.

        In file names words are in lower case, with hyphens for all characters but letters and
        digits; long words are shortened, and equal ones numbered.

        Returns:
            word -> path. A file is written whole or not at all.

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
    """Draw a map of confidence over an image, with title and colour bar below it.

    The image is at the top left of the result; a small one is enlarged, as by `draw_overlay`.

    Source: [maskclip] Fig. 1 (c), the confidence map of one word.

    Args:
        image: (H, W, 3) uint8 RGB.
        confidence: (H, W) floating, finite.
        title: the word, shortened to the width of the image.
        span: values of the first and the last colour, to which other values are clipped; None
            means the lowest and the highest value, and the first colour for a constant map.
        label: name of the values.
        alpha: weight of the colours in 0..1.
        note: a sentence below the label.

    Returns:
        RGB image.

    Raises:
        ValueError: image or confidence of another shape or dtype, values that are not finite, a
            span that does not rise, or alpha outside 0..1.
    """
    _check(image, confidence, span, alpha)
    low, high = (float(confidence.min()), float(confidence.max())) if span is None else span
    colors = _color_table()
    share = (confidence.astype(np.float64) - low) / ((high - low) or 1.0)
    heat = colors[np.rint(255 * share.clip(0, 1)).astype(np.uint8)]
    blended = enlarge(Image.blend(Image.fromarray(image), Image.fromarray(heat), alpha))
    lines = [line for line in (title, label, note) if line]
    strip = _draw_strip(lines, (f"{low:.3g}", f"{high:.3g}"), strip_width(blended))
    return put_below(blended, strip)


def _check(
    image: NDArray[np.uint8],
    confidence: NDArray[np.floating],
    span: tuple[float, float] | None,
    alpha: float,
) -> None:
    check_image(image, alpha)
    if confidence.shape != image.shape[:2] or not np.issubdtype(confidence.dtype, np.floating):
        raise ValueError(
            f"confidence has shape {confidence.shape} and dtype {confidence.dtype}; give floats of "
            f"the image's {image.shape[:2]}"
        )
    if not np.isfinite(confidence).all():
        raise ValueError("confidence holds NaN or infinity; give finite values")
    if span is not None and not (np.isfinite(span).all() and span[0] < span[1]):
        raise ValueError(f"span is {span}; give two numbers that rise, or None")


@lru_cache(maxsize=1)
def _color_table() -> NDArray[np.uint8]:
    """Return the colours from the lowest value to the highest, (256, 3) uint8 RGB."""
    # Imported here, because loading matplotlib takes most of a second and few runs draw.
    from matplotlib import colormaps

    table = np.rint(255 * colormaps[_COLOR_MAP](np.arange(256))[:, :3]).astype(np.uint8)
    table.setflags(write=False)
    return table


def _draw_strip(lines: list[str], ends: tuple[str, str], width: int) -> Image.Image:
    """Draw lines of text, and below them the colour bar between its end values."""
    em, font = load_font(width)
    margin, line_height = em // 2, em * 3 // 2
    strip = Image.new("RGB", (width, (len(lines) + 1) * line_height + margin), PAPER)
    draw = ImageDraw.Draw(strip)
    middle = margin // 2 + line_height // 2
    for line in lines:
        text = shorten(" ".join(line.split()), font, width - 2 * margin)
        draw.text((margin, middle), text, INK, font, "lm")
        middle += line_height
    draw.text((margin, middle), ends[0], INK, font, "lm")
    draw.text((width - margin, middle), ends[1], INK, font, "rm")
    left = 2 * margin + round(font.getlength(ends[0]))
    right = width - 2 * margin - round(font.getlength(ends[1]))
    index = np.rint(np.linspace(0, 255, right - left)).astype(np.uint8)
    bar = Image.fromarray(np.tile(_color_table()[index], (em, 1, 1)))
    strip.paste(bar, (left, middle - em // 2))
    return strip


def _file_names(words: Iterable[str], name: str, kind: str) -> list[str]:
    """Return a file name per word; no two are equal on any file system."""
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
    """Return a word in case-folded letters and digits, with hyphens for other characters."""
    for _ in range(2):  # folding may undo the normal form, and normalising the folding
        word = unicodedata.normalize("NFKC", word.casefold())
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else "-" for c in word)
    slug = "-".join(part for part in kept.split("-") if part)
    return slug.encode()[:_SLUG_BYTES].decode(errors="ignore").rstrip("-") or "word"
