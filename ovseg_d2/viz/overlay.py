"""The picture a person looks at: the image, tinted by class, and a legend of what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ovseg_d2.ops import class_shares
from ovseg_d2.viz.colors import class_colors
from ovseg_d2.vocab import Vocabulary

__all__ = ["draw_overlay"]

# Pixels. A smaller image is enlarged by a whole factor up to about this longest side, and a strip
# too narrow to see is widened to the second number.
_SMALL_SIDE, _NARROW_SIDE = 256, 24
# Pixels. A legend narrower than this has no room for names.
_MIN_WIDTH = 256
# The font grows with the picture, for a wide one is shrunk to a screen again.
_FONT_SIZES = (12, 44)
_WIDTH_PER_FONT_SIZE = 48
# A longer name is shortened, in units of the font size.
_MAX_NAME_EMS = 16
# Rows that a legend may always have; more only while it is no taller than the image.
_FREE_ROWS = 10
_PAPER, _INK, _NOTE_INK = (255, 255, 255), (32, 32, 32), (192, 0, 0)


@dataclass(frozen=True)
class _Entry:
    """One line of the legend: colour of its swatch, text, share of the pixels."""

    color: tuple[int, ...] | None
    name: str
    share: float | None

    @property
    def percent(self) -> str:
        """The share as it is written."""
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

    The legend lists the classes present, largest first, with their share of the labelled pixels;
    where they are too many the smallest are summed up in one line. Images below 256 pixels are
    enlarged by a whole factor, strips of a few pixels also widened, so that they can be seen. The
    image lies at the top left of the result.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) integer class indices.
        vocabulary: the classes, or their names.
        alpha: weight of the class colour in 0..1.
        ignore_label: pixels of this label are left as they are and not counted. None: there is
            none, which a vocabulary of more than 255 classes needs.
        note: a sentence below the legend.

    Returns:
        RGB picture.

    Raises:
        ValueError: image or labels of another shape or dtype, alpha outside 0..1, or a label that
            is no class.
    """
    names = vocabulary.names if isinstance(vocabulary, Vocabulary) else tuple(vocabulary)
    label_map = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    _check(image, label_map, alpha)
    # A class that bears the ignore index would vanish from picture and legend alike.
    if ignore_label is not None and 0 <= ignore_label < len(names):
        raise ValueError(
            f"ignore_label is {ignore_label}, which is also the class {names[ignore_label]!r}; "
            "pass None or an index that is no class"
        )
    shares = class_shares(torch.from_numpy(label_map.astype(np.int64)), len(names), ignore_label)
    colors = class_colors(names)

    picture = _tint(image, label_map, colors, alpha, ignore_label)
    picture = picture.resize(_visible_size(picture.size), Image.Resampling.NEAREST)
    legend = _draw_legend(
        _entries(names, colors, shares.numpy()),
        max(picture.width, _MIN_WIDTH),
        picture.height,
        note,
    )
    canvas = Image.new("RGB", (legend.width, picture.height + legend.height), _PAPER)
    canvas.paste(picture, (0, 0))
    canvas.paste(legend, (0, picture.height))
    return canvas


def _check(image: NDArray[np.uint8], label_map: NDArray[np.integer], alpha: float) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ValueError(
            f"image has shape {image.shape} and dtype {image.dtype}; give (H, W, 3) uint8 RGB"
        )
    if label_map.shape != image.shape[:2] or not np.issubdtype(label_map.dtype, np.integer):
        raise ValueError(
            f"labels have shape {label_map.shape} and dtype {label_map.dtype}; give integers of "
            f"the image's {image.shape[:2]}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in 0..1")


def _visible_size(size: tuple[int, int]) -> tuple[int, int]:
    """Whole multiples of a size, large enough to be looked at; the size itself as a rule."""
    factor = max(1, _SMALL_SIDE // max(size))
    width, height = (side * factor * max(1, -(-_NARROW_SIDE // (side * factor))) for side in size)
    return width, height


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
    """Classes present, largest first; among equals the lower index."""
    order = [int(k) for k in np.argsort(-shares, kind="stable") if shares[k] > 0]
    if not order:
        return [_Entry(None, "no labelled pixel", None)]
    return [
        # Names of one's own may hold line breaks, which a line of text cannot.
        _Entry(tuple(colors[k].tolist()), " ".join(names[k].split()), float(shares[k]))
        for k in order
    ]


def _draw_legend(entries: list[_Entry], width: int, height_of_image: int, note: str) -> Image.Image:
    """Entries in columns, read from top to bottom, and a note, on a strip of the given width."""
    em = min(max(width // _WIDTH_PER_FONT_SIZE, _FONT_SIZES[0]), _FONT_SIZES[1])
    font = ImageFont.load_default(size=em)
    margin, line_height = em // 2, em * 3 // 2
    # The line that sums up the rest, which may have to stand in a column too.
    rest = [_Entry(None, f"and {len(entries)} more", 1.0)] if len(entries) > _FREE_ROWS else []
    share_width = round(max(font.getlength(entry.percent) for entry in entries + rest))
    # Swatch, name and share, with a margin between them and a wide one after.
    fixed_width = em + share_width + 5 * margin
    usable = width + margin  # the last column needs no wide margin
    longest = max(font.getlength(entry.name) for entry in entries + rest)
    name_width = int(min(longest + 1, _MAX_NAME_EMS * em, usable - fixed_width))
    num_columns = max(1, min(usable // (fixed_width + name_width), len(entries)))

    max_rows = max(_FREE_ROWS, height_of_image // line_height)
    if len(entries) > num_columns * max_rows:
        shown = num_columns * max_rows - 1
        rest_share = sum(entry.share or 0.0 for entry in entries[shown:])
        summary = _Entry(None, f"and {len(entries) - shown} more", rest_share)
        entries = [*entries[:shown], summary]
    num_rows = -(-len(entries) // num_columns)

    height = (num_rows + bool(note)) * line_height + margin
    legend = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(legend)
    if note:
        text = _shorten(note, font, width - 2 * margin)
        draw.text((margin, height - margin // 2 - line_height // 2), text, _NOTE_INK, font, "lm")
    for i, entry in enumerate(entries):
        column, row = divmod(i, num_rows)
        x = margin + column * (fixed_width + name_width)
        y = margin // 2 + row * line_height
        middle = y + line_height // 2
        if entry.color is not None:
            top = middle - em // 2
            draw.rectangle((x, top, x + em - 1, top + em - 1), entry.color, _INK)
        name_x = x + em + margin
        draw.text((name_x, middle), _shorten(entry.name, font, name_width), _INK, font, "lm")
        share_x = name_x + name_width + margin + share_width
        draw.text((share_x, middle), entry.percent, _INK, font, "rm")
    return legend


def _shorten(
    name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, max_width: float
) -> str:
    """The name, or as much of its beginning as fits before an ellipsis."""
    if font.getlength(name) <= max_width:
        return name
    low, high = 0, len(name)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(name[:middle].rstrip() + "…") <= max_width:
            low = middle
        else:
            high = middle - 1
    return name[:low].rstrip() + "…"
