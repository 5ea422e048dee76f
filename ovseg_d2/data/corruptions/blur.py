"""Blurs; lengths are those of [corruptions] at 224 pixels, in proportion at other sizes."""

import math

import cv2
import numpy as np

from .registry import corruption

# The border mirrors the image, so that no level darkens it.
_BORDER = cv2.BORDER_REFLECT_101


@corruption([1, 2, 3, 4, 6])
def gaussian_blur(
    image: np.ndarray, sigma: float, rng: np.random.Generator, scale: float
) -> np.ndarray:
    """Blur with a Gaussian of ``sigma`` pixels; draws no random numbers."""
    return cv2.GaussianBlur(image, (0, 0), sigma * scale, borderType=_BORDER)


@corruption([(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)])
def defocus_blur(
    image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator, scale: float
) -> np.ndarray:
    """Blur with a disk (radius in pixels, Gaussian of its rim); draws no random numbers."""
    radius, rim = (length * scale for length in strength)
    return cv2.filter2D(image, -1, _disk(radius, rim), borderType=_BORDER)


@corruption([(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)])
def motion_blur(
    image: np.ndarray, strength: tuple[float, float], rng: np.random.Generator, scale: float
) -> np.ndarray:
    """Blur along a line within 45 degrees of horizontal (length in pixels, sigma of its fading)."""
    length, sigma = (value * scale for value in strength)
    kernel = motion_kernel(length, sigma, rng.uniform(-45, 45))
    return cv2.filter2D(image, -1, kernel, borderType=_BORDER)


@corruption(
    [
        np.arange(1, 1.11, 0.01),
        np.arange(1, 1.16, 0.01),
        np.arange(1, 1.21, 0.02),
        np.arange(1, 1.26, 0.02),
        np.arange(1, 1.31, 0.03),
    ]
)
def zoom_blur(image: np.ndarray, zooms: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Average the image with its enlargements; draws no random numbers."""
    total = image.copy()
    for zoom in zooms:
        total += enlarge(image, zoom)
    return total / (len(zooms) + 1)


def enlarge(image: np.ndarray, zoom: float) -> np.ndarray:
    """Zoom into the middle of an (H, W) or (H, W, C) float32 array without changing its size."""
    height, width = image.shape[:2]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array(
        [[zoom, 0, middle_x * (1 - zoom)], [0, zoom, middle_y * (1 - zoom)]], np.float64
    )
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=_BORDER
    )


def motion_kernel(length: float, sigma: float, angle: float) -> np.ndarray:
    """Line from the middle of a kernel, fading like half a Gaussian; sums to 1.

    Args:
        length: of the line, in pixels.
        sigma: of the Gaussian, in pixels.
        angle: degrees, counter-clockwise from the right.
    """
    reach = max(math.ceil(length), 1)
    size = 2 * reach + 1
    # The points are closer than pixels; a point is shared among the four pixels around it.
    distances = np.linspace(0, length, 4 * reach + 1)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    x = reach + distances * math.cos(math.radians(angle))
    y = reach - distances * math.sin(math.radians(angle))
    kernel = np.zeros((size + 1, size + 1))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_share, bottom_share = x - left, y - top
    for row, row_share in ((top, 1 - bottom_share), (top + 1, bottom_share)):
        for column, column_share in ((left, 1 - right_share), (left + 1, right_share)):
            np.add.at(kernel, (row, column), weights * row_share * column_share)
    kernel = kernel[:size, :size]
    return (kernel / kernel.sum()).astype(np.float32)


def _disk(radius: float, rim: float) -> np.ndarray:
    """Kernel of a disk of any radius, with partly covered pixels at its rim; sums to 1."""
    reach = max(math.ceil(radius + 3 * rim), 1)
    fine = 8  # points per pixel and side
    offsets = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    inside = (offsets[:, None] ** 2 + offsets**2 <= max(radius, 0.5) ** 2).astype(np.float32)
    kernel = inside.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3))
    if rim > 0:
        kernel = cv2.GaussianBlur(kernel, (0, 0), rim)
    return kernel / kernel.sum()
