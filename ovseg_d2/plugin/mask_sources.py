"""Masks of any maker in the place of a MaskFormer's, as a config names them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..d2.config import CfgNode
from ..masks import DinoClusters, Felzenszwalb, MaskFolder, MaskSource, SamMasks, nearest_pixels
from ..systems import GeneratedMasks, MaskProposals, covering_proposals

__all__ = ["build_mask_source", "propose_masks"]


def build_mask_source(cfg: CfgNode) -> MaskSource | None:
    """The source that ``MODEL.OVSEG.PROPOSALS`` names; None where it is the MaskFormer.

    Raises:
        ValueError: no checkpoint or folder for one that needs it, or options
            that the source refuses.
        FileNotFoundError: a checkpoint that is not there.
    """
    name, masks = cfg.MODEL.OVSEG.PROPOSALS, cfg.INPUT.MASKS
    if name == "sam":
        checkpoint = cfg.MODEL.OVSEG.SAM_CHECKPOINT
        if not checkpoint:
            raise ValueError(
                "MODEL.OVSEG.PROPOSALS sam needs weights; set MODEL.OVSEG.SAM_CHECKPOINT to a file "
                "of SAM's authors"
            )
        return SamMasks.load(checkpoint=checkpoint, device=cfg.MODEL.DEVICE)
    if name == "felzenszwalb":
        graph = masks.FELZENSZWALB
        return Felzenszwalb(scale=graph.SCALE, sigma=graph.SIGMA, min_size=graph.MIN_SIZE)
    if name == "dino":
        return DinoClusters.load(
            model=masks.DINO.MODEL,
            weights=masks.DINO.WEIGHTS,
            num_clusters=masks.DINO.NUM_CLUSTERS,
            size=masks.DINO.SIZE,
            seed=max(cfg.SEED, 0),
        )
    if name == "stored":
        if not masks.FOLDER:
            raise ValueError(
                "MODEL.OVSEG.PROPOSALS stored needs masks; set INPUT.MASKS.FOLDER to what "
                "tools/generate_masks.py has written"
            )
        return MaskFolder(masks.FOLDER)
    return None


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
