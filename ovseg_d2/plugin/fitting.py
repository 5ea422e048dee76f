"""Training images of any sizes as one batch: padded to whole strides, or resized."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

__all__ = ["GREY", "BatchPadder", "ImageResizer"]

_logger = logging.getLogger(__name__)

# Of what is added to an image of 0 to 255.
GREY = 128


class BatchPadder:
    """Brings images and what lies over them to one size, at the bottom and right.

    The log says once that it does. A batch that fits already stays as it is.
    """

    def __init__(self) -> None:
        """Nothing is said yet."""
        self._told = False

    def __call__(
        self,
        batched_inputs: Sequence[dict[str, Any]],
        stride: tuple[int, int],
        fills: Mapping[str, float],
    ) -> list[dict[str, Any]]:
        """Pad a batch.

        Args:
            batched_inputs: dicts with ``image`` (3, H, W).
            stride: pixels (h, w) whose multiples the sides become.
            fills: names of the entries that are padded, tensors (..., H, W), with the value of
                what is added; an input may be without some.

        Returns:
            Copies of the dicts with padded entries.

        Raises:
            ValueError: an entry of another size than its image.
        """
        for each in batched_inputs:
            _check_sizes(each, fills)
        sizes = {tuple(each["image"].shape[-2:]) for each in batched_inputs}
        height, width = (
            math.ceil(max(sides) / step) * step
            for sides, step in zip(zip(*sizes, strict=True), stride, strict=True)
        )
        if sizes == {(height, width)}:
            return list(batched_inputs)
        if not self._told:
            self._told = True
            _logger.info(
                "training images that differ in size, or are no multiples of %d x %d pixels, are "
                "padded at the bottom and right, and what is added is not trained on; INPUT.CROP "
                "makes images of one size",
                *stride,
            )
        return [{**each, **_pad(each, fills, height, width)} for each in batched_inputs]


class ImageResizer:
    """Brings images to one size where they differ from each other, or one has more pixels.

    The log says once that it does.
    """

    def __init__(self) -> None:
        """Nothing is said yet."""
        self._told = False

    def __call__(self, images: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """Resize the images of a batch.

        Args:
            images: (1, 3, H, W) float of 0 to 255 each.
            size: (h, w) in pixels.

        Returns:
            The images, all of one size.
        """
        sizes = {tuple(image.shape[-2:]) for image in images}
        if len(sizes) == 1 and math.prod(*sizes) <= math.prod(size):
            return list(images)
        if not self._told:
            self._told = True
            _logger.info(
                "training images that differ in size, or are larger than CLIP's own %d x %d "
                "pixels, are resized to that; INPUT.CAPTION_CROP.SIZE names another",
                *size,
            )
        resized = [F.interpolate(image, size, mode="bicubic", antialias=True) for image in images]
        return [image.clamp(0, 255) for image in resized]


def _check_sizes(batched_input: dict[str, Any], names: Iterable[str]) -> None:
    size = tuple(batched_input["image"].shape[-2:])
    for name in names:
        found = tuple(batched_input[name].shape[-2:]) if name in batched_input else size
        if found != size:
            raise ValueError(
                f"{batched_input.get('file_name', 'a training image')} has {size[0]} x {size[1]} "
                f"pixels and its {name!r} {found[0]} x {found[1]}; give both the same size"
            )


def _pad(
    batched_input: dict[str, Any], fills: Mapping[str, float], height: int, width: int
) -> dict[str, Tensor]:
    more_h, more_w = (
        wanted - side
        for wanted, side in zip((height, width), batched_input["image"].shape[-2:], strict=True)
    )
    return {
        name: F.pad(batched_input[name], (0, more_w, 0, more_h), value=fill)
        for name, fill in fills.items()
        if name in batched_input
    }
