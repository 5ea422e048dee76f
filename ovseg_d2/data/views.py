"""Augmented views of images: weak for a teacher, strong for its student, and random crops.

Images are (H, W, 3) uint8 RGB; a generator is the source of all randomness, and results have their
own memory.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

__all__ = ["StrongView", "distort_colors", "draw_box", "draw_part"]

_ASPECTS = (3 / 4, 4 / 3)  # of the parts that `draw_part` draws
_TRIES = 10  # draws of a part until it fits


@dataclass(frozen=True)
class StrongView:
    """Differences of a student's view from its teacher's, except geometry.

    Paper: [pixelclip] official settings, which are the defaults.

    Args:
        jitter: largest changes of brightness, contrast and saturation, as shares, and of hue, in
            turns, at most 0.5.
        jitter_prob: probability of colour jitter.
        grey_prob: probability of conversion to grey.
        blur_prob: probability of blur.
        blur_sigma: least and greatest standard deviation, in pixels.
        cutout: least and greatest side of the cut-out box, as shares of the image's; (0, 0) cuts
            nothing out.

    Raises:
        ValueError: a value out of its range.
    """

    jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.25)
    jitter_prob: float = 0.8
    grey_prob: float = 0.2
    blur_prob: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    cutout: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        """Check the ranges."""
        _check("JITTER", self.jitter, 4, 0, 1)
        _check("JITTER", self.jitter[3:], 1, 0, 0.5)
        for name in ("jitter_prob", "grey_prob", "blur_prob"):
            _check(name.upper(), (getattr(self, name),), 1, 0, 1)
        _check("BLUR_SIGMA", self.blur_sigma, 2, 0, 100, rising=True)
        _check("CUTOUT", self.cutout, 2, 0, 1, rising=True)

    def draw(
        self, image: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, tuple[int, int, int, int]]:
        """Draw a strong view.

        Returns:
            (H, W, 3) uint8, and its black box, xyxy in pixels, which is empty if nothing is cut
            out.
        """
        pixels = image.astype(np.float32)
        if rng.random() < self.jitter_prob:
            pixels = self._jitter(pixels, rng)
        if rng.random() < self.grey_prob:
            pixels = np.repeat(_grey(pixels), 3, axis=2)
        if rng.random() < self.blur_prob:
            sigma = rng.uniform(*self.blur_sigma)
            if sigma > 0:
                side = 2 * int(np.ceil(3 * sigma)) + 1
                pixels = cv2.GaussianBlur(pixels, (side, side), sigma)
        strong = _rounded(pixels)
        left, top, right, bottom = box = draw_box(image.shape[:2], self.cutout, rng)
        strong[top:bottom, left:right] = 0
        return strong, box

    def _jitter(self, pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        brightness, contrast, saturation = (
            np.float32(rng.uniform(1 - change, 1 + change)) for change in self.jitter[:3]
        )
        degrees = 360 * rng.uniform(-self.jitter[3], self.jitter[3])
        steps = (
            lambda x: x * brightness,
            lambda x: x * contrast + (1 - contrast) * _grey(x).mean(),
            lambda x: x * saturation + (1 - saturation) * _grey(x),
            lambda x: _turn_hue(x, degrees),
        )
        for number in rng.permutation(len(steps)):
            pixels = np.clip(steps[number](pixels), 0, 255)
        return pixels


def draw_box(
    size: tuple[int, int], shares: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a box inside an image.

    Args:
        size: (H, W) of the image.
        shares: least and greatest side, as shares of the image's.
        rng: source of all randomness.

    Returns:
        xyxy in pixels, right and bottom exclusive.
    """
    height, width = (round(side * rng.uniform(*shares)) for side in size)
    top = int(rng.integers(size[0] - height + 1))
    left = int(rng.integers(size[1] - width + 1))
    return left, top, left + width, top + height


def draw_part(
    size: tuple[int, int], area: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a part of a crop, with uniform area and log-uniform aspect.

    Source: torchvision's RandomResizedCrop, which the official code of [ovseg] uses; but if no part
    fits, as usual in long and thin crops, the whole crop is taken instead of its middle.

    Args:
        size: (h, w) of the crop.
        area: least and greatest share of its area.
        rng: source of all randomness.

    Returns:
        xyxy in pixels, right and bottom exclusive.
    """
    height, width = size
    if area == (1, 1):
        return 0, 0, width, height
    for _ in range(_TRIES):
        pixels = height * width * rng.uniform(*area)
        aspect = math.exp(rng.uniform(math.log(_ASPECTS[0]), math.log(_ASPECTS[1])))
        part_w, part_h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < part_w <= width and 0 < part_h <= height:
            top = int(rng.integers(height - part_h + 1))
            left = int(rng.integers(width - part_w + 1))
            return left, top, left + part_w, top + part_h
    return 0, 0, width, height


def distort_colors(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Distort colours as in the training of the SSD detector (arXiv 1512.02325).

    With probability 1/2 each: brightness by up to 32 levels, contrast and saturation by a factor of
    0.5 to 1.5, hue by up to 18 degrees; contrast before or after the last two.
    """
    pixels = image.astype(np.float32)
    if rng.random() < 0.5:
        pixels = pixels + np.float32(rng.uniform(-32, 32))
    contrast = np.float32(rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1)
    first = rng.random() < 0.5
    pixels = np.clip(pixels * contrast if first else pixels, 0, 255)
    saturation = rng.uniform(0.5, 1.5) if rng.random() < 0.5 else 1.0
    degrees = rng.uniform(-18, 18) if rng.random() < 0.5 else 0.0
    pixels = _turn_hue(pixels, degrees, saturation)
    return _rounded(pixels if first else pixels * contrast)


def _turn_hue(pixels: np.ndarray, degrees: float, saturation: float = 1.0) -> np.ndarray:
    """Turn the hue of (H, W, 3) float32 in [0, 255] and multiply HSV's saturation."""
    # Of float images, OpenCV's hue is in degrees and its saturation in [0, 1].
    hsv = cv2.cvtColor(pixels / np.float32(255), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + np.float32(degrees)) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(saturation), 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * np.float32(255)


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H, W, 1) luma of ITU-R BT.601."""
    return pixels @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32)


def _rounded(pixels: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


def _check(
    name: str, values: tuple[float, ...], count: int, low: float, high: float, rising: bool = False
) -> None:
    in_range = len(values) == count and all(low <= value <= high for value in values)
    if not in_range or (rising and values[0] > values[1]):
        kind = f"{count} numbers" if count > 1 else "a number"
        order = ", the smaller one first" if rising else ""
        raise ValueError(f"INPUT.VIEWS.{name} is {values}; give {kind} from {low} to {high}{order}")
