"""Mask proposals from a mask source in place of a MaskFormer."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..masks import MaskFolder, MaskSource, nearest_pixels
from ..systems import GeneratedMasks, MaskProposals, covering_proposals

__all__ = ["propose_masks"]


def propose_masks(
    source: MaskSource, image: Tensor, batched_input: dict[str, Any]
) -> MaskProposals:
    """Masks of one input, without classes; what they leave uncovered is one more.

    Args:
        source: makes them of the image, or looks them up by its ``file_name``.
        image: (3, H, W) RGB in 0..255, as the model sees it.
        batched_input: its dict. Masks that are looked up are of the file's own ``height`` and
            ``width``, and brought to the image's size by the nearest pixel.

    Raises:
        MaskFileError: masks that cannot be looked up, or are of another size than their file.
    """
    height, width = image.shape[1:]
    if not isinstance(source, MaskFolder):
        return GeneratedMasks(source)(image)
    size = batched_input.get("height", height), batched_input.get("width", width)
    found = source(np.zeros((*size, 3), np.uint8), batched_input.get("file_name", ""))
    rows, columns = nearest_pixels(size[0], height), nearest_pixels(size[1], width)
    found = found[:, rows[:, None], columns]
    return covering_proposals(torch.from_numpy(np.ascontiguousarray(found)).to(image.device))
