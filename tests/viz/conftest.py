"""Fixtures of the drawings' tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

Drawn = list[tuple[tuple[float, float, float, float], str]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Give the texts that are drawn, with their boxes (x0, y0, x1, y1) on the strip."""
    texts: Drawn = []
    original = ImageDraw.ImageDraw.text

    def record(
        self: Any, xy: Any, text: str, fill: Any, font: Any, anchor: str, **kwargs: Any
    ) -> None:
        if text:
            texts.append((self.textbbox(xy, text, font, anchor), text))
        original(self, xy, text, fill, font, anchor, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return texts


@pytest.fixture
def check_layout(drawn: Drawn) -> Callable[[Image.Image], None]:
    """Give a function that checks that texts lie inside an image and do not overlap."""

    def check(canvas: Image.Image) -> None:
        boxes = np.array([box for box, _ in drawn])
        assert boxes.min() >= 0
        assert boxes[:, 2].max() <= canvas.width
        assert boxes[:, 3].max() <= canvas.height
        for i, (x0, y0, x1, y1) in enumerate(boxes):
            rest = np.delete(boxes, i, axis=0)
            apart = (rest[:, 0] >= x1) | (rest[:, 2] <= x0)
            apart |= (rest[:, 1] >= y1) | (rest[:, 3] <= y0)
            assert apart.all(), drawn[i]

    return check
