"""Drawing of label maps over pictures."""

import colorsys
from collections.abc import Sequence
from enum import Enum, unique
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from .colormap import colormap


@unique
class ColorMode(Enum):
    """How instances would be coloured; label maps are drawn alike in all modes."""

    IMAGE = 0
    SEGMENTATION = 1
    IMAGE_BW = 2


class VisImage:
    """A picture that is drawn on, at ``scale`` times the size of the original."""

    def __init__(self, img: np.ndarray, scale: float = 1.0):
        """Take an (H, W, 3) uint8 RGB picture."""
        self.scale = scale
        self.height, self.width = img.shape[:2]
        size = (int(self.width * scale + 1e-2), int(self.height * scale + 1e-2))
        self.canvas = Image.fromarray(img).resize(size, Image.Resampling.NEAREST)

    def get_image(self) -> np.ndarray:
        """The picture, (H * scale, W * scale, 3) uint8 RGB."""
        return np.array(self.canvas)

    def save(self, filepath: str) -> None:
        """Write the picture; its format is that of the file's extension."""
        self.canvas.save(filepath)


class Visualizer:
    """Draws over one picture."""

    def __init__(
        self,
        img_rgb: Any,
        metadata: Any = None,
        scale: float = 1.0,
        instance_mode: ColorMode = ColorMode.IMAGE,
        font_size_scale: float = 1.0,
    ):
        """Begin with the bare picture.

        Args:
            img_rgb: (H, W, 3) RGB in [0, 255].
            metadata: of the dataset: ``stuff_classes`` and, if it likes, ``stuff_colors`` (RGB in
                [0, 255]).
            scale: size of the drawing, relative to the picture.
            instance_mode: without effect on label maps.
            font_size_scale: factor of the size of class names.
        """
        self.img = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        self.metadata = metadata
        self.output = VisImage(self.img, scale=scale)
        self._instance_mode = instance_mode
        area = self.output.height * self.output.width
        # Smaller than 10 pixels on the drawing, names cannot be read.
        self._default_font_size = max(area**0.5 // 90, 10 // scale) * font_size_scale

    def draw_sem_seg(
        self,
        sem_seg: torch.Tensor | np.ndarray,
        area_threshold: int | None = None,
        alpha: float = 0.8,
        draw_text: bool = True,
    ) -> VisImage:
        """Colour each class of a label map, and write its name on it.

        Args:
            sem_seg: (H, W) integers; labels from ``len(metadata.stuff_classes)`` on are not drawn.
            area_threshold: classes of fewer pixels are not drawn.
            alpha: opacity in [0, 1].
            draw_text: whether names are written.

        Returns:
            The drawing so far, with ``get_image()`` and ``save(path)``.

        Raises:
            AttributeError: the metadata has no ``stuff_classes``.

        Departs: detectron2 compares the threshold with each connected region and picks a random
            colour where the metadata has none; here it is the class's whole area, and a colour
            that stays the same from picture to picture.
        """
        labels_map = sem_seg.cpu().numpy() if isinstance(sem_seg, torch.Tensor) else sem_seg
        if self.metadata is None:
            raise AttributeError(
                "draw_sem_seg needs names: give Visualizer a metadata with stuff_classes."
            )
        classes: Sequence[str] = self.metadata.stuff_classes
        labels, areas = np.unique(labels_map, return_counts=True)
        # Large ones first, so that small ones have their names on top.
        for i in np.argsort(-areas, kind="stable"):
            label = int(labels[i])
            if label >= len(classes) or areas[i] < (area_threshold or 0):
                continue
            mask = labels_map == labels[i]
            color = self._get_color(label)
            self._blend(mask, color, alpha)
            if draw_text:
                self._write(classes[label], mask, color)
        return self.output

    def _get_color(self, label: int) -> np.ndarray:
        colors = getattr(self.metadata, "stuff_colors", ())
        if label < len(colors):
            return np.asarray(colors[label], dtype=np.float32)
        palette = colormap(rgb=True)
        return palette[label % len(palette)]

    def _blend(self, mask: np.ndarray, color: np.ndarray, alpha: float) -> None:
        size = self.output.canvas.size
        drawn = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        canvas = self.output.get_image().astype(np.float32)
        canvas[drawn] = (1 - alpha) * canvas[drawn] + alpha * color
        self.output.canvas = Image.fromarray(canvas.round().astype(np.uint8))

    def _write(self, text: str, mask: np.ndarray, color: np.ndarray) -> None:
        """Write a name at the pixel of the mask that is nearest to the mask's median."""
        points = np.argwhere(mask)
        nearest = np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()
        scale = self.output.scale
        y, x = (points[nearest] + 0.5) * scale
        draw = ImageDraw.Draw(self.output.canvas, "RGBA")
        font = ImageFont.load_default(size=self._default_font_size * scale)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        # A name that would leave the drawing is pushed back inside.
        x = max(min(x - (right - left) / 2, self.output.canvas.width - right), 0)
        y = max(min(y, self.output.canvas.height - bottom), 0)
        draw.rectangle((x + left - 1, y + top - 1, x + right + 1, y + bottom + 1), (0, 0, 0, 204))
        draw.text((x, y), text, font=font, fill=_lighten(color))


def _lighten(color: np.ndarray) -> tuple[int, ...]:
    """A lighter tone of an RGB colour in [0, 255], to be read on black."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(color / 255.0))
    lightness = max(min(lightness * 1.7, 1.0), 0.4)
    return tuple(round(255 * c) for c in colorsys.hls_to_rgb(hue, lightness, saturation))
