"""Snow, frost, fog and light.

The paper lays six photographs of frosted glass over its images, and its fog is a fractal whose side
is a power of two; here both are made of octaves of noise, at any size. The paper's numbers are kept
except for these, which keep the levels in order: snow's second level is nearer to the first (the
paper's whitens more than its third), frost has more ice from the second level on, and fog is
thicker at its last two levels, where the paper only makes it finer.
"""

import math

import cv2
import numpy as np

from .blur import enlarge, motion_kernel
from .registry import corruption


@corruption(
    [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.15, 0.3, 2.5, 0.5, 12, 4, 0.75),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ]
)
def snow(
    image: np.ndarray, strength: tuple[float, ...], rng: np.random.Generator, scale: float
) -> np.ndarray:
    """Whiten the image and add streaks of snow, with a second layer of them upside down.

    Strength: mean, deviation, zoom and threshold of the flakes; length and fading of their
    streaks; share of the image's colours that stays.
    """
    mean, std, zoom, threshold, length, sigma, keep = strength
    height, width = image.shape[:2]
    # Made at the size of the numbers, so that the number of flakes does not depend on the size.
    flakes = rng.normal(mean, std, (math.ceil(height / scale), math.ceil(width / scale)))
    flakes = enlarge(flakes.astype(np.float32), zoom)
    flakes = np.where(flakes < threshold, 0, np.clip(flakes, 0, 1))
    streak = motion_kernel(length, sigma, rng.uniform(-135, -45))
    flakes = cv2.filter2D(flakes, -1, streak, borderType=cv2.BORDER_REFLECT_101)
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    flakes = cv2.resize(flakes, (width, height), interpolation=shrink)[..., None]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    white = np.maximum(image, 1.5 * grey + 0.5)
    return keep * image + (1 - keep) * white + flakes + flakes[::-1, ::-1]


@corruption([(1, 0.4), (0.8, 0.65), (0.7, 0.8), (0.65, 0.9), (0.6, 1.0)])
def frost(image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Lay ice over the image (share of the image that stays, amount of ice)."""
    keep, ice = strength
    # The zeros of noise are sharp lines: the needles of the crystals.
    needles = 1 - np.abs(2 * _octaves(image.shape[:2], 1.6, rng) - 1)
    patches = _octaves(image.shape[:2], 2.0, rng)
    brightness = np.clip(0.25 + 0.9 * needles**4 * patches + 0.5 * patches**2, 0, 1)
    colour = np.array([0.85, 0.95, 1.0], np.float32)  # ice is a little blue
    return keep * image + ice * brightness[..., None] * colour


@corruption([(1.5, 2), (2, 2), (2.5, 1.7), (3, 1.6), (3.5, 1.5)])
def fog(image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Add clouds (thickness, decay of octaves) and keep the brightest value."""
    thickness, decay = strength
    brightest = image.max()
    clouds = _octaves(image.shape[:2], decay, rng)[..., None]
    return (image + thickness * clouds) * brightest / (brightest + thickness)


@corruption([0.1, 0.2, 0.3, 0.4, 0.5])
def brightness(image: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Raise the value of hue, saturation, value; draws no random numbers."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + amount, 0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _octaves(size: tuple[int, int], decay: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) noise in [0, 1]: an octave is twice as fine as the last and ``decay`` times weaker."""
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(1, max(max(size) - 1, 1).bit_length() + 1):
        points = 2**octave + 1
        coarse = rng.uniform(-1, 1, (points, points)).astype(np.float32)
        # A square of noise; an image that is no square shows a part of it.
        side = max(size)
        fine = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
        total += fine[:height, :width] / decay**octave
    low, high = total.min(), total.max()
    return (total - low) / (high - low) if high > low else np.full_like(total, 0.5)
