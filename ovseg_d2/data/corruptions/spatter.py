"""Drops of water or mud on the lens, with the numbers of [corruptions]."""

import math

import cv2
import numpy as np

from .registry import corruption

_WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
_MUD = np.array([63, 42, 20], np.float32) / 255
_MUD_SHOWS = 0.8  # share of mud from which a pixel has any
_FAR = 20  # pixels from the rim of a drop where it is no brighter any more
_RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


@corruption(
    [
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    ]
)
def spatter(
    image: np.ndarray,
    strength: tuple[float, float, float, float, float, bool],
    rng: np.random.Generator,
    scale: float,
) -> np.ndarray:
    """Splash water over the image (three levels) or mud (two).

    Strength: mean, deviation, smoothness and threshold of the drops; the water's brightness or the
    smoothness of the mud's rim; whether it is mud.
    """
    mean, std, smoothness, threshold, amount, is_mud = strength
    height, width = image.shape[:2]
    # Made at the size of the numbers, because blurring by more also makes the drops rarer.
    drops = rng.normal(mean, std, (math.ceil(height / scale), math.ceil(width / scale)))
    drops = _smooth(drops.astype(np.float32), smoothness)
    drops[drops < threshold] = 0
    cover = _mud(drops, threshold, amount) if is_mud else amount * _light(drops)
    shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    cover = cv2.resize(cover, (width, height), interpolation=shrink)[..., None]
    return image * (1 - cover) + _MUD * cover if is_mud else image + _WATER * cover


def _mud(drops: np.ndarray, threshold: float, rim: float) -> np.ndarray:
    """Share of mud (h, w) at each pixel, 0 or at least `_MUD_SHOWS`."""
    cover = _smooth((drops > threshold).astype(np.float32), rim)
    return np.where(cover < _MUD_SHOWS, 0, cover)


def _light(drops: np.ndarray) -> np.ndarray:
    """Light (h, w) that drops reflect, the brightest pixel 1: a relief of the way to their rims."""
    levels = (drops * 255).clip(0, 255).astype(np.uint8)
    depth = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    depth = cv2.blur(np.minimum(depth, _FAR), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(depth), cv2.CV_8U, _RELIEF)
    light = levels * cv2.blur(relief, (3, 3)).astype(np.float32)
    return light / max(light.max(), 1)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
