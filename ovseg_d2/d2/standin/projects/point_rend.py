"""The colour augmentation of SSD, which detectron2's PointRend project holds."""

import random
from typing import Any

import numpy as np
from fvcore.transforms.transform import Transform


class ColorAugSSDTransform(Transform):
    """Changes brightness, contrast, saturation and hue at random, each with probability 1/2.

    Contrast comes either before saturation and hue or after them. Randomness is that of Python's
    ``random``, drawn at each application. Needs OpenCV. Source: SSD (arXiv 1512.02325), Sec. 2.2.
    """

    def __init__(
        self,
        img_format: str,
        brightness_delta: float = 32,
        contrast_low: float = 0.5,
        contrast_high: float = 1.5,
        saturation_low: float = 0.5,
        saturation_high: float = 1.5,
        hue_delta: int = 18,
    ):
        """Set the ranges.

        Args:
            img_format: "RGB" or "BGR", the order of the image's channels.
            brightness_delta: largest shift of all channels, of 255.
            contrast_low: smallest factor of all channels.
            contrast_high: largest factor of all channels.
            saturation_low: smallest factor of the saturation.
            saturation_high: largest factor of the saturation.
            hue_delta: largest shift of the hue, of 180.

        Raises:
            AssertionError: another ``img_format``.
        """
        super().__init__()
        assert img_format in ("BGR", "RGB"), f"img_format is '{img_format}'; use 'BGR' or 'RGB'."
        self.is_rgb = img_format == "RGB"
        self.brightness_delta = brightness_delta
        self.contrast_low = contrast_low
        self.contrast_high = contrast_high
        self.saturation_low = saturation_low
        self.saturation_high = saturation_high
        self.hue_delta = hue_delta

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """The coordinates themselves."""
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """The label map itself."""
        return segmentation

    def apply_image(self, img: np.ndarray, interp: str | None = None) -> np.ndarray:
        """(H, W, 3) uint8 to the same, the argument left as it is."""
        if self.is_rgb:
            img = img[:, :, ::-1]
        img = self._change_brightness(img)
        contrast_first = bool(random.randrange(2))
        if contrast_first:
            img = self._change_contrast(img)
        img = self._change_hue(self._change_saturation(img))
        if not contrast_first:
            img = self._change_contrast(img)
        return img[:, :, ::-1] if self.is_rgb else img

    def _change_brightness(self, img: np.ndarray) -> np.ndarray:
        if not random.randrange(2):
            return img
        delta = random.uniform(-self.brightness_delta, self.brightness_delta)
        return _scale_and_shift(img, shift=delta)

    def _change_contrast(self, img: np.ndarray) -> np.ndarray:
        if not random.randrange(2):
            return img
        return _scale_and_shift(img, random.uniform(self.contrast_low, self.contrast_high))

    def _change_saturation(self, img: np.ndarray) -> np.ndarray:
        if not random.randrange(2):
            return img
        hsv = _bgr_to_hsv(img)
        factor = random.uniform(self.saturation_low, self.saturation_high)
        hsv[:, :, 1] = _scale_and_shift(hsv[:, :, 1], factor)
        return _hsv_to_bgr(hsv)

    def _change_hue(self, img: np.ndarray) -> np.ndarray:
        if not random.randrange(2):
            return img
        hsv = _bgr_to_hsv(img)
        delta = random.randint(-self.hue_delta, self.hue_delta)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + delta) % 180
        return _hsv_to_bgr(hsv)


def _scale_and_shift(values: np.ndarray, factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return (values.astype(np.float32) * factor + shift).clip(0, 255).astype(np.uint8)


# OpenCV is imported where it is used: without it everything else of the stand-in works.
def _bgr_to_hsv(img: np.ndarray) -> Any:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(img), cv2.COLOR_BGR2HSV)


def _hsv_to_bgr(hsv: np.ndarray) -> Any:
    import cv2

    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
