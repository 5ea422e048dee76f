"""Images in memory: conversion to 8-bit RGB, channel order and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from .images import composite_on_white

__all__ = ["as_rgb", "check_image_format", "image_tensor", "order_channels"]

_CHANNELS = (1, 3, 4)
_REMEDY = (
    "give the name of a file, an image of Pillow, or an array or tensor of (H, W), (H, W, C) or "
    "(C, H, W), C = 1, 3 or 4 channels RGB(A), uint8 or floats in 0..1"
)


def as_rgb(image: Any) -> np.ndarray:
    """Convert an image in memory to 8-bit RGB, with the result of reading a file of it.

    Grey becomes RGB, transparency is composited on white, and floats in 0..1 are rounded to the
    nearest of 256 levels. The channels of an array or tensor may be last or first; if both are
    possible, as for a tensor of (3, 8, 3), it is refused, except for an array of (H, W, 3), whose
    channels are last.

    Args:
        image: an array or tensor of (H, W), (H, W, C) or (C, H, W) with C = 1, 3 (RGB) or 4 (RGBA),
            uint8 or floating in 0..1; or an image of Pillow with 8 bits.

    Returns:
        (H, W, 3) uint8 RGB; an array of this form is returned without a copy.

    Raises:
        ValueError: another type, shape, dtype or range of values.
    """
    if isinstance(image, Image.Image):
        return _pil_as_rgb(image)
    if isinstance(image, torch.Tensor):
        tensor = image.detach().cpu()
        # numpy has no bfloat16.
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    elif hasattr(image, "__array__"):
        array = np.asarray(image)
    else:
        raise ValueError(f"the image is a {type(image).__name__}; {_REMEDY}")
    array = _channels_last(array, is_tensor=isinstance(image, torch.Tensor))
    levels = _as_levels(array)
    if levels.shape[2] == 4:
        return composite_on_white(levels)
    return np.repeat(levels, 3, axis=2) if levels.shape[2] == 1 else levels


def _channels_last(array: np.ndarray, *, is_tensor: bool) -> np.ndarray:
    """(H, W), (H, W, C) or (C, H, W) -> (H, W, C)."""
    if array.ndim == 4:
        raise ValueError(
            f"the image has shape {array.shape}, which is a batch; give a list of its images"
        )
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"the image has shape {array.shape}; {_REMEDY}")
    if array.ndim == 2:
        return array[..., None]
    last, first = array.shape[2] in _CHANNELS, array.shape[0] in _CHANNELS
    if not is_tensor and array.shape[2] == 3:
        first = False
    if last and first:
        raise ValueError(
            f"the image has shape {array.shape}, and its channels may be the first or the last of "
            "the three; give an array of (H, W, 3)"
        )
    if not last and not first:
        raise ValueError(f"the image has shape {array.shape}; {_REMEDY}")
    return array if last else np.ascontiguousarray(array.transpose(1, 2, 0))


def _as_levels(array: np.ndarray) -> np.ndarray:
    """Convert floats in 0..1 to the nearest of 256 levels; uint8 is returned unchanged."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise ValueError(f"the image has shape {array.shape} and dtype {array.dtype}; {_REMEDY}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"the image has floats from {low:.4g} to {high:.4g}; bring them to 0..1, or give uint8"
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)


def _pil_as_rgb(image: Image.Image) -> np.ndarray:
    # Pillow would clip these at 255.
    if image.mode.startswith(("I", "F")) or 0 in image.size:
        raise ValueError(
            f"the image has mode {image.mode!r} and size {image.size}; give pixels of 8 bits, or "
            "the name of its file"
        )
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def check_image_format(image_format: str) -> str:
    """Check that ``image_format`` is RGB or BGR and return it.

    Raises:
        ValueError: another value.
    """
    if image_format not in ("RGB", "BGR"):
        raise ValueError(f"INPUT.FORMAT {image_format!r} is not one of RGB, BGR")
    return image_format


def order_channels(image: np.ndarray, image_format: str) -> np.ndarray:
    """(H, W, 3) RGB -> (H, W, 3) in the channel order ``image_format``."""
    return image[:, :, ::-1] if image_format == "BGR" else image


def image_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 array -> (3, H, W) uint8 tensor with its own memory."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).copy())
