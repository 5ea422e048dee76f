"""Effects of processing: contrast, warping, pixels, JPEG."""

import io

import cv2
import numpy as np
from PIL import Image

from .registry import corruption


@corruption([0.4, 0.3, 0.2, 0.1, 0.05])
def contrast(image: np.ndarray, keep: float, rng: np.random.Generator) -> np.ndarray:
    """Keep a share of the distance to each channel's mean; draws no random numbers."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * keep + mean


@corruption([(1.0, 4.0), (1.5, 4.0), (2.0, 4.0), (3.0, 4.0), (4.0, 4.0)])
def elastic_transform(
    image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator, scale: float
) -> np.ndarray:
    """Shift pixels smoothly (root mean square of the shifts and their smoothness, in pixels).

    Departs: the paper's first two levels are an affine change of up to a fifth of the image,
    which moves objects off their labels; here only the size of the shifts depends on the level.
    """
    shift, smoothness = (length * scale for length in strength)
    height, width = image.shape[:2]
    fields = rng.uniform(-1, 1, (height, width, 2)).astype(np.float32)
    fields = cv2.GaussianBlur(fields, (0, 0), smoothness, borderType=cv2.BORDER_REFLECT)
    rms = np.sqrt((fields**2).mean(axis=(0, 1)))
    fields *= shift / np.maximum(rms, np.finfo(np.float32).tiny)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        image,
        x + fields[..., 0],
        y + fields[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )


@corruption([0.6, 0.5, 0.4, 0.3, 0.25])
def pixelate(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Show the image at ``factor`` times its resolution; draws no random numbers."""
    height, width = image.shape[:2]
    small = (max(int(width * factor), 1), max(int(height * factor), 1))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


@corruption([25, 18, 15, 10, 7])
def jpeg_compression(image: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Save the image as JPEG of the given quality; draws no random numbers."""
    with io.BytesIO() as file:
        pixels = np.rint(image * 255).astype(np.uint8)
        Image.fromarray(pixels).save(file, format="JPEG", quality=quality)
        with Image.open(file) as saved:
            return np.asarray(saved.convert("RGB"), np.float32) / 255
