"""Overlays: an image tinted by class, with a legend of the classes present."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ovseg_d2.ops import class_shares
from ovseg_d2.viz.canvas import (
    INK,
    NOTE_INK,
    PAPER,
    check_image,
    enlarge,
    load_font,
    put_below,
    shorten,
    strip_width,
)
from ovseg_d2.viz.colors import class_colors
from ovseg_d2.vocab import Vocabulary

__all__ = ["draw_overlay"]

# Longest name in units of the font size.
_MAX_NAME_EMS = 16
# Rows that a legend may always have; it has more only if it is not taller than the image.
_FREE_ROWS = 10


@dataclass(frozen=True)
class _Entry:
    """A line of the legend: colour of the swatch, text, share of the pixels."""

    color: tuple[int, ...] | None
    name: str
    share: float | None

    @property
    def percent(self) -> str:
        """The share as text."""
        if self.share is None:
            return ""
        return "<0.1 %" if self.share < 0.0005 else f"{100 * self.share:.1f} %"


def draw_overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.integer] | Tensor,
    vocabulary: Vocabulary | Sequence[str],
    *,
    alpha: float = 0.5,
    ignore_label: int | None = 255,
    note: str = "",
) -> Image.Image:
    """Tint an image by class, with a legend below it.

    The legend lists the classes present, largest first, with their share of the labelled pixels; if
    they are too many, one line sums up the smallest. Images below 256 pixels are enlarged by a
    whole factor, and sides of a few pixels widened. The image is at the top left of the result.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integer class indices.
        vocabulary: the classes, or their names.
        alpha: weight of the class colour in 0..1.
        ignore_label: pixels of this label are neither tinted nor counted; None, for vocabularies of
            more than 255 classes, counts all pixels.
        note: a sentence below the legend.

    Returns:
        RGB image.

    Raises:
        ValueError: image or labels of another shape or dtype, alpha outside 0..1, or a label that
            is not a class.
    """
    names = vocabulary.names if isinstance(vocabulary, Vocabulary) else tuple(vocabulary)
    label_map = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    _check(image, label_map, alpha)
    # A class with the ignore index would not be drawn.
    if ignore_label is not None and 0 <= ignore_label < len(names):
        raise ValueError(
            f"ignore_label is {ignore_label}, which is also the class {names[ignore_label]!r}; "
            "pass None or an index that is not a class"
        )
    shares = class_shares(torch.from_numpy(label_map.astype(np.int64)), len(names), ignore_label)
    colors = class_colors(names)

    tinted = enlarge(_tint(image, label_map, colors, alpha, ignore_label))
    entries = _entries(names, colors, shares.numpy())
    return put_below(tinted, _draw_legend(entries, strip_width(tinted), tinted.height, note))


def _check(image: NDArray[np.uint8], label_map: NDArray[np.integer], alpha: float) -> None:
    check_image(image, alpha)
    if label_map.shape != image.shape[:2] or not np.issubdtype(label_map.dtype, np.integer):
        raise ValueError(
            f"labels have shape {label_map.shape} and dtype {label_map.dtype}; give integers of "
            f"the image's {image.shape[:2]}"
        )


def _tint(
    image: NDArray[np.uint8],
    label_map: NDArray[np.integer],
    colors: NDArray[np.uint8],
    alpha: float,
    ignore_label: int | None,
) -> Image.Image:
    base = Image.fromarray(image)
    ignored = np.zeros(label_map.shape, bool) if ignore_label is None else label_map == ignore_label
    tinted = Image.fromarray(colors[np.where(ignored, 0, label_map)])
    tinted = Image.blend(base, tinted, alpha)
    return Image.composite(base, tinted, Image.fromarray(ignored))


def _entries(
    names: Sequence[str], colors: NDArray[np.uint8], shares: NDArray[np.float64]
) -> list[_Entry]:
    """Return the classes present, largest first; the lower index first in a tie."""
    order = [int(k) for k in np.argsort(-shares, kind="stable") if shares[k] > 0]
    if not order:
        return [_Entry(None, "no labelled pixel", None)]
    return [
        # Names may hold line breaks, which a line of the legend must not.
        _Entry(tuple(colors[k].tolist()), " ".join(names[k].split()), float(shares[k]))
        for k in order
    ]


def _draw_legend(entries: list[_Entry], width: int, image_height: int, note: str) -> Image.Image:
    """Draw entries in columns, top to bottom, and a note, on a strip of the given width."""
    em, font = load_font(width)
    margin, line_height = em // 2, em * 3 // 2
    # The line that sums up the smallest classes must fit into a column too.
    rest = [_Entry(None, f"and {len(entries)} more", 1.0)] if len(entries) > _FREE_ROWS else []
    share_width = round(max(font.getlength(entry.percent) for entry in entries + rest))
    # Swatch, name and share, with margins between them and a wide margin after them.
    fixed_width = em + share_width + 5 * margin
    usable = width + margin  # the last column needs no wide margin
    longest = max(font.getlength(entry.name) for entry in entries + rest)
    name_width = int(min(longest + 1, _MAX_NAME_EMS * em, usable - fixed_width))
    num_columns = max(1, min(usable // (fixed_width + name_width), len(entries)))

    max_rows = max(_FREE_ROWS, image_height // line_height)
    if len(entries) > num_columns * max_rows:
        shown = num_columns * max_rows - 1
        rest_share = sum(entry.share or 0.0 for entry in entries[shown:])
        summary = _Entry(None, f"and {len(entries) - shown} more", rest_share)
        entries = [*entries[:shown], summary]
    num_rows = -(-len(entries) // num_columns)

    height = (num_rows + bool(note)) * line_height + margin
    legend = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(legend)
    if note:
        text = shorten(note, font, width - 2 * margin)
        draw.text((margin, height - margin // 2 - line_height // 2), text, NOTE_INK, font, "lm")
    for i, entry in enumerate(entries):
        column, row = divmod(i, num_rows)
        x = margin + column * (fixed_width + name_width)
        y = margin // 2 + row * line_height
        middle = y + line_height // 2
        if entry.color is not None:
            top = middle - em // 2
            draw.rectangle((x, top, x + em - 1, top + em - 1), entry.color, INK)
        name_x = x + em + margin
        draw.text((name_x, middle), shorten(entry.name, font, name_width), INK, font, "lm")
        share_x = name_x + name_width + margin + share_width
        draw.text((share_x, middle), entry.percent, INK, font, "rm")
    return legend
