"""Feature maps of all stages of an image tower, for pyramid networks."""

import torch.nn.functional as F
from torch import Tensor

from .image_tower import image_tower_kind
from .last_block import LastBlock
from .tower import CLIPTower

__all__ = ["encode_stages", "stage_shapes"]


def stage_shapes(tower: CLIPTower) -> list[tuple[int, int]]:
    """Channels and stride in pixels of each stage of a tower, finest first.

    A ViT has one, its last patch tokens before projection; a ResNet and a ConvNeXt
    have four, a FastViT four or five.

    Raises:
        ValueError: a ViT's patches are not square.
    """
    visual = tower.model.visual
    return image_tower_kind(visual).stage_shapes(visual)


def encode_stages(
    tower: CLIPTower, images: Tensor, last_block: LastBlock | None = None
) -> tuple[list[Tensor], Tensor]:
    """Return the maps of all stages and, from the same pass, the dense features.

    Images are padded with zeros at the bottom and right to whole patches; parts of a map that cover
    only padding are cut off.

    Args:
        tower: of any kind.
        images: (B, 3, H, W) normalised; any H and W.
        last_block: MaskCLIP's value path by default.

    Returns:
        Maps (B, C_i, ceil(H / s_i), ceil(W / s_i)) float, raw, with channels C_i and strides s_i of
        `stage_shapes`; and the result of `CLIPTower.dense_feats`, (B, D, h, w).

    Raises:
        ValueError: the tower does not support the last block, or its patches are not square.
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
