"""The augmentations of semantic segmentation: sizes, flips and crops.

Arguments become attributes of the same name; all randomness comes from ``numpy.random``.
"""

import sys
from collections.abc import Sequence

import numpy as np
from fvcore.transforms.transform import (
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    Transform,
    VFlipTransform,
)
from PIL import Image

from .augmentation import Augmentation
from .transform import ResizeTransform

__all__ = [
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomFlip",
    "ResizeScale",
    "ResizeShortestEdge",
]

_CROP_TYPES = ("relative_range", "relative", "absolute", "absolute_range")

# Crops tried for one that no single category fills; the last one is taken as it is.
_MAX_CROP_TRIALS = 10


def _round(value: float) -> int:
    # Halves go up; Python's round() takes them to the even neighbour.
    return int(value + 0.5)


class RandomFlip(Augmentation):
    """Flip with a probability, in one direction."""

    def __init__(
        self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False
    ) -> None:
        """Choose direction and probability.

        Args:
            prob: in [0, 1].
            horizontal: left to right.
            vertical: top to bottom.

        Raises:
            ValueError: both directions, or none.
        """
        if horizontal == vertical:
            raise ValueError(
                f"RandomFlip flips in one direction, got horizontal={horizontal} and "
                f"vertical={vertical}; for both use two RandomFlips."
            )
        self.prob = prob
        self.horizontal = horizontal
        self.vertical = vertical

    def get_transform(self, image: np.ndarray) -> Transform:
        """The flip of the (H, W, ...) image, or nothing."""
        height, width = image.shape[:2]
        if np.random.uniform() >= self.prob:
            return NoOpTransform()
        return HFlipTransform(width) if self.horizontal else VFlipTransform(height)


class ResizeShortestEdge(Augmentation):
    """Resize the shorter side to a length drawn at random, keeping the aspect ratio."""

    def __init__(
        self,
        short_edge_length: int | Sequence[int],
        max_size: int = sys.maxsize,
        sample_style: str = "range",
        interp: int = Image.Resampling.BILINEAR,
    ) -> None:
        """Choose the lengths to draw from.

        Args:
            short_edge_length: the smallest and the largest length ("range", both included), or the
                lengths to draw from ("choice"), in pixels; one number is always taken. 0 leaves the
                image as it is.
            max_size: bound of the longer side, in pixels; goes before the length drawn.
            sample_style: "range" or "choice".
            interp: Pillow's resampling.

        Raises:
            AssertionError: another ``sample_style``, or a range that is not two numbers.
        """
        assert sample_style in ("range", "choice"), (
            f"sample_style={sample_style!r}: use 'range' or 'choice'."
        )
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        self.is_range = sample_style == "range"
        assert not self.is_range or len(short_edge_length) == 2, (
            "short_edge_length must be two values using 'range' sample style. "
            f"Got {short_edge_length}!"
        )
        self.short_edge_length = short_edge_length
        self.max_size = max_size
        self.sample_style = sample_style
        self.interp = interp

    def get_transform(self, image: np.ndarray) -> Transform:
        """The resize of the (H, W, ...) image, or nothing where 0 was drawn."""
        if self.is_range:
            low, high = self.short_edge_length
            length = int(np.random.randint(low, high + 1))
        else:
            length = int(np.random.choice(self.short_edge_length))
        if length == 0:
            return NoOpTransform()
        height, width = image.shape[:2]
        new_size = self.get_output_shape(height, width, length, self.max_size)
        return ResizeTransform(height, width, *new_size, self.interp)

    @staticmethod
    def get_output_shape(
        oldh: int, oldw: int, short_edge_length: int, max_size: int
    ) -> tuple[int, int]:
        """The (h, w) that an (oldh, oldw) image gets, in pixels."""
        short, long = min(oldh, oldw), max(oldh, oldw)
        new_short, new_long = float(short_edge_length), long * (short_edge_length / short)
        if new_long > max_size:
            new_short, new_long = new_short * (max_size / new_long), float(max_size)
        sizes = _round(new_short), _round(new_long)
        return sizes if oldh < oldw else sizes[::-1]


class ResizeScale(Augmentation):
    """Resize an image to fit into a box that is scaled at random, keeping the aspect ratio."""

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        target_height: int,
        target_width: int,
        interp: int = Image.Resampling.BILINEAR,
    ) -> None:
        """Choose the box and its scales.

        Args:
            min_scale: the least one.
            max_scale: the greatest one, not included.
            target_height: of the box at scale 1, in pixels.
            target_width: of the box at scale 1, in pixels.
            interp: Pillow's resampling.
        """
        self.min_scale = min_scale
        self.max_scale = max_scale
        self.target_height = target_height
        self.target_width = target_width
        self.interp = interp

    def get_transform(self, image: np.ndarray) -> Transform:
        """The resize of the (H, W, ...) image."""
        scale = np.random.uniform(self.min_scale, self.max_scale)
        height, width = image.shape[:2]
        fit = min(self.target_height * scale / height, self.target_width * scale / width)
        # To the even neighbour where it is half, as numpy rounds.
        return ResizeTransform(height, width, round(height * fit), round(width * fit), self.interp)


class RandomCrop(Augmentation):
    """Crop a rectangle at a random place."""

    def __init__(self, crop_type: str, crop_size: Sequence[float]) -> None:
        """Choose the sizes to draw from.

        Args:
            crop_type: how ``crop_size`` is meant.
                "relative": (h, w) as shares of the image, in (0, 1].
                "relative_range": the smallest such shares; drawn up to 1, apart for h and w.
                "absolute": (h, w) in pixels; no more than the image has.
                "absolute_range": the smallest and the largest side in pixels; h and w drawn apart.
            crop_size: two numbers.

        Raises:
            AssertionError: another ``crop_type``.
        """
        assert crop_type in _CROP_TYPES, f"crop_type={crop_type!r}: use one of {_CROP_TYPES}."
        self.crop_type = crop_type
        self.crop_size = crop_size

    def get_transform(self, image: np.ndarray) -> Transform:
        """A crop of the (H, W, ...) image."""
        height, width = image.shape[:2]
        crop_h, crop_w = self.get_crop_size((height, width))
        y0 = np.random.randint(height - crop_h + 1)
        x0 = np.random.randint(width - crop_w + 1)
        return CropTransform(x0, y0, crop_w, crop_h)

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Draw the (h, w) of a crop of an image of (h, w), in pixels."""
        height, width = image_size
        first, second = self.crop_size
        if self.crop_type == "absolute":
            return min(first, height), min(second, width)
        if self.crop_type == "absolute_range":
            assert first <= second, (
                f"crop_size={self.crop_size} of 'absolute_range' must be (smallest, largest)."
            )
            crop_h, crop_w = (
                int(np.random.randint(min(first, side), min(second, side) + 1))
                for side in image_size
            )
            return crop_h, crop_w
        if self.crop_type == "relative_range":
            first, second = np.random.uniform(self.crop_size, 1.0)
        return _round(height * first), _round(width * second)


class RandomCrop_CategoryAreaConstraint(Augmentation):
    """Crop where no single category fills more than a given share of the crop.

    A few places are tried. One is good if it holds at least two categories, the largest of them
    below the share; if none is, the last one is taken.
    """

    def __init__(
        self,
        crop_type: str,
        crop_size: Sequence[float],
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
    ) -> None:
        """Choose sizes and share.

        Args:
            crop_type: see ``RandomCrop``.
            crop_size: see ``RandomCrop``.
            single_category_max_area: the share, in (0, 1]; 1 takes any crop.
            ignored_category: label that counts as no category.
        """
        self.crop_aug = RandomCrop(crop_type, crop_size)
        self.crop_type = crop_type
        self.crop_size = crop_size
        self.single_category_max_area = single_category_max_area
        self.ignored_category = ignored_category

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        """A crop of the (H, W, ...) image and its (H, W) labels."""
        if self.single_category_max_area >= 1.0:
            return self.crop_aug.get_transform(image)
        for _ in range(_MAX_CROP_TRIALS):
            crop = self.crop_aug.get_transform(sem_seg)
            labels, areas = np.unique(crop.apply_segmentation(sem_seg), return_counts=True)
            if self.ignored_category is not None:
                areas = areas[labels != self.ignored_category]
            if len(areas) > 1 and areas.max() < areas.sum() * self.single_category_max_area:
                break
        return crop
