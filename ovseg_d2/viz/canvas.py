"""What overlays and heat maps share: an image on paper above a strip of text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

PAPER, INK, NOTE_INK = (255, 255, 255), (32, 32, 32), (192, 0, 0)
# Pixels. A smaller image is enlarged by a whole factor to about this longest side; a side below the
# second number is widened to it.
_SMALL_SIDE, _NARROW_SIDE = 256, 24
# Pixels. A narrower strip has no room for names.
_MIN_WIDTH = 256
# The font grows with the width up to a size that is readable when a wide image is shrunk.
_FONT_SIZES = (12, 44)
_WIDTH_PER_FONT_SIZE = 48

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def check_image(image: NDArray[np.uint8], alpha: float) -> None:
    """Raise a ValueError unless the image is (H, W, 3) uint8, not empty, and alpha in 0..1."""
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ValueError(
            f"image has shape {image.shape} and dtype {image.dtype}; give (H, W, 3) uint8 RGB"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must lie in 0..1")


def enlarge(image: Image.Image) -> Image.Image:
    """Enlarge a small image by whole factors per side; a larger image does not change."""
    factor = max(1, _SMALL_SIDE // max(image.size))
    sides = (side * factor for side in image.size)
    width, height = (side * max(1, -(-_NARROW_SIDE // side)) for side in sides)
    return image.resize((width, height), Image.Resampling.NEAREST)


def strip_width(image: Image.Image) -> int:
    """Return the width of the strip below an image."""
    return max(image.width, _MIN_WIDTH)


def load_font(width: int) -> tuple[int, Font]:
    """Return the font size in pixels and the font for a strip of the given width."""
    size = min(max(width // _WIDTH_PER_FONT_SIZE, _FONT_SIZES[0]), _FONT_SIZES[1])
    return size, ImageFont.load_default(size=size)


def put_below(image: Image.Image, strip: Image.Image) -> Image.Image:
    """Paste an image at the top left, and a strip of at least its width below it."""
    canvas = Image.new("RGB", (strip.width, image.height + strip.height), PAPER)
    canvas.paste(image, (0, 0))
    canvas.paste(strip, (0, image.height))
    return canvas


def shorten(text: str, font: Font, max_width: float) -> str:
    """Return the text, or as much of its beginning as fits before an ellipsis."""
    if font.getlength(text) <= max_width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + "…") <= max_width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"
