"""Noise of single pixels, with the numbers of [corruptions]."""

import numpy as np

from .registry import corruption


@corruption([0.08, 0.12, 0.18, 0.26, 0.38])
def gaussian_noise(image: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise, like that of a sensor in low light."""
    return image + std * rng.standard_normal(image.shape, np.float32)


@corruption([60, 25, 12, 5, 3])
def shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Count photons: Poisson noise, ``photons`` at white."""
    return rng.poisson(image * photons) / photons


@corruption([0.03, 0.06, 0.09, 0.17, 0.27])
def impulse_noise(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Turn a share of all values black or white, independently in each channel."""
    hit = rng.random(image.shape) < share
    return np.where(hit, rng.integers(0, 2, image.shape), image)


@corruption([0.15, 0.2, 0.35, 0.45, 0.6])
def speckle_noise(image: np.ndarray, std: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise in proportion to the value."""
    return image + image * std * rng.standard_normal(image.shape, np.float32)
