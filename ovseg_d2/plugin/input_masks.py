"""Unlabelled masks of a model's input: made from its pixels, or read from a folder by its name."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..config import mask_options
from ..d2.config import CfgNode
from ..masks import MaskFolder, MaskSource, build_mask_source, nearest_pixels
from ..ops import MapCorrection, mask_owners
from ..systems import generate_masks

__all__ = ["MapCorrector", "build_corrector", "input_masks", "resize_nearest"]


def input_masks(source: MaskSource, image: Tensor, batched_input: dict[str, Any]) -> Tensor:
    """Return a source's masks of an input.

    Args:
        source: makes masks of the image, or reads stored ones by its ``file_name``.
        image: (3, h, w) RGB in 0..255.
        batched_input: its dict. Stored masks have the file's own ``height`` and ``width``.

    Returns:
        (Q, H, W) bool on the image's device: at the image's size, or the file's.

    Raises:
        MaskFileError: masks that cannot be read, or have another size than their file.
    """
    if not isinstance(source, MaskFolder):
        return generate_masks(source, image)
    height, width = image.shape[1:]
    size = batched_input.get("height", height), batched_input.get("width", width)
    masks = source(np.zeros((*size, 3), np.uint8), batched_input.get("file_name", ""))
    return torch.from_numpy(np.ascontiguousarray(masks)).to(image.device)


def resize_nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (..., H, W) to (..., *size) by the nearest pixel."""
    rows, columns = (
        torch.from_numpy(nearest_pixels(old, new)).to(values.device)
        for old, new in zip(values.shape[-2:], size, strict=True)
    )
    return values[..., rows[:, None], columns]


class MapCorrector:
    """Makes the `MapCorrection` of an input from the masks of a source."""

    def __init__(self, source: MaskSource, rule: Literal["mode", "mean"]) -> None:
        """Take a source and the rule of `MapCorrection`."""
        self.source = source
        self.rule = rule

    def __call__(
        self, image: Tensor, batched_input: dict[str, Any], size: tuple[int, int]
    ) -> MapCorrection:
        """Return the correction of a result of a size (h, w); arguments are `input_masks`'."""
        owners = mask_owners(input_masks(self.source, image, batched_input))
        return MapCorrection(resize_nearest(owners, size), self.rule)


def build_corrector(cfg: CfgNode) -> MapCorrector | None:
    """Build the corrector that ``MODEL.MAP_CORRECTION`` describes, or None for "none".

    Raises:
        ValueError: the checkpoint or folder that the source needs is not set.
        FileNotFoundError: a checkpoint that does not exist.
        MaskFileError: a folder that does not exist, or holds no masks.
    """
    options = cfg.MODEL.MAP_CORRECTION
    if options.SOURCE == "none":
        return None
    source = build_mask_source(options.SOURCE, **mask_options(cfg, options.SOURCE))
    return MapCorrector(source, options.RULE)
