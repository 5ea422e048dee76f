"""Feature maps of all stages of an image tower, as a pyramid network wants them."""

import torch.nn.functional as F
from torch import Tensor

from .image_tower import image_tower_kind
from .last_block import LastBlock
from .tower import CLIPTower

__all__ = ["encode_stages", "stage_shapes"]


def stage_shapes(tower: CLIPTower) -> list[tuple[int, int]]:
    """Channels and stride in pixels of each stage of a tower, finest first.

    A ViT has one: the patches that are projected last, of the tower's width. A ResNet and a
    ConvNeXt have four.

    Raises:
        ValueError: a ViT's patches are not square, and so have no one stride.
    """
    visual = tower.model.visual
    return image_tower_kind(visual).stage_shapes(visual)


def encode_stages(
    tower: CLIPTower, images: Tensor, last_block: LastBlock | None = None
) -> tuple[list[Tensor], Tensor]:
    """Give the maps of all stages and, from the same pass, the dense features of the joint space.

    Zeros are added at the bottom and right up to whole patches; what of a map covers nothing but
    them is cut off again.

    Args:
        tower: of any kind.
        images: (B, 3, H, W) normalised; any H and W.
        last_block: what the last block does; MaskCLIP's value path by default.

    Returns:
        Maps (B, C_i, ceil(H / s_i), ceil(W / s_i)) float, raw, with C_i and the stride s_i of
        `stage_shapes`; and what `CLIPTower.dense_feats` gives, (B, D, h, w).

    Raises:
        ValueError: the tower has no such last block, or no one stride.
    """
    visual, (height, width) = tower.model.visual, images.shape[-2:]
    patch_h, patch_w = tower.patch_size
    padded = F.pad(images.to(tower.dtype), (0, -width % patch_w, 0, -height % patch_h))
    kind = image_tower_kind(visual)
    stages, dense = kind.stages(visual, padded, last_block or LastBlock())
    strides = [stride for _, stride in kind.stage_shapes(visual)]
    maps = [
        stage[..., : -(-height // stride), : -(-width // stride)]
        for stage, stride in zip(stages, strides, strict=True)
    ]
    return maps, dense
