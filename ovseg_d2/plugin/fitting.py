"""Training images of any sizes as one batch: padded to whole strides, or resized."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

__all__ = ["GREY", "BatchPadder", "ImageResizer"]

_logger = logging.getLogger(__name__)

# Pixel value of padding.
GREY = 128


class BatchPadder:
    """Pads images, labels and masks to one size, at the bottom and right.

    The first padding is logged. A batch that has one fitting size is not changed.
    """

    def __init__(self) -> None:
        """Build a padder that has logged nothing."""
        self._logged = False

    def __call__(
        self,
        batched_inputs: Sequence[dict[str, Any]],
        stride: tuple[int, int],
        fills: Mapping[str, float],
    ) -> list[dict[str, Any]]:
        """Pad a batch.

        Args:
            batched_inputs: dicts with ``image`` (3, H, W).
            stride: (h, w) in pixels whose multiples the sides become.
            fills: names of the padded entries, tensors (..., H, W), with the value of their
                padding; inputs may lack entries.

        Returns:
            Copies of the dicts with padded entries.

        Raises:
            ValueError: an entry of another size than its image.
        """
        for sample in batched_inputs:
            _check_sizes(sample, fills)
        sizes = {tuple(sample["image"].shape[-2:]) for sample in batched_inputs}
        height, width = (
            math.ceil(max(sides) / step) * step
            for sides, step in zip(zip(*sizes, strict=True), stride, strict=True)
        )
        if sizes == {(height, width)}:
            return list(batched_inputs)
        if not self._logged:
            self._logged = True
            _logger.info(
                "training images that differ in size, or are no multiples of %d x %d pixels, are "
                "padded at the bottom and right, and the padding is not trained on; INPUT.CROP "
                "makes images of one size",
                *stride,
            )
        return [{**sample, **_pad(sample, fills, height, width)} for sample in batched_inputs]


class ImageResizer:
    """Resizes images to one size if they differ from each other, or have more pixels.

    The first resizing is logged.
    """

    def __init__(self) -> None:
        """Build a resizer that has logged nothing."""
        self._logged = False

    def __call__(self, images: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Resize the images of a batch.

        Args:
            images: (1, 3, H, W) float of 0 to 255, of any sizes.
            size: (h, w) in pixels.

        Returns:
            The images, all of one size.
        """
        sizes = {tuple(image.shape[-2:]) for image in images}
        if len(sizes) == 1 and math.prod(*sizes) <= math.prod(size):
            return list(images)
        if not self._logged:
            self._logged = True
            _logger.info(
                "training images that differ in size, or are larger than CLIP's own %d x %d "
                "pixels, are resized to that; INPUT.CAPTION_CROP.SIZE names another",
                *size,
            )
        resized = [F.interpolate(image, size, mode="bicubic", antialias=True) for image in images]
        return [image.clamp(0, 255) for image in resized]


def _check_sizes(sample: dict[str, Any], names: Iterable[str]) -> None:
    size = tuple(sample["image"].shape[-2:])
    for name in names:
        entry_size = tuple(sample[name].shape[-2:]) if name in sample else size
        if entry_size != size:
            raise ValueError(
                f"{sample.get('file_name', 'a training image')} has {size[0]} x {size[1]} pixels "
                f"and its {name!r} {entry_size[0]} x {entry_size[1]}; give both the same size"
            )


def _pad(
    sample: dict[str, Any], fills: Mapping[str, float], height: int, width: int
) -> dict[str, Tensor]:
    below, right = height - sample["image"].shape[-2], width - sample["image"].shape[-1]
    return {
        name: F.pad(sample[name], (0, right, 0, below), value=fill)
        for name, fill in fills.items()
        if name in sample
    }
