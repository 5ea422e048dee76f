"""Last blocks of open_clip's VisionTransformer in which patches attend by other features.

Shape shorthand: B images, N = h*w patches, C width of the tower, h' x w' cells of a guide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from ovseg_d2.ops import find_outliers, mix_by_affinity, mix_by_cosines, replace_by_neighbours

from .affinity import Affinity, Calibration

Size = tuple[int, int]


@dataclass(frozen=True)
class BeforeLast:
    """What a tower computes before its last block.

    Attributes:
        tokens: (B, 1 + N, C), class token first.
        grid: (h, w), N = h*w.
        outputs: (B, 1 + N, C) of the blocks asked for, by their number; the first has 1.
    """

    tokens: Tensor
    grid: Size
    outputs: dict[int, Tensor]

    def map_of(self, block: int) -> Tensor:
        """Output of a block at the patches, (B, C, h, w)."""
        return self.outputs[block][:, 1:].transpose(1, 2).unflatten(2, self.grid)


def mix_by_guide(
    values: Tensor, grid: Size, compared: Tensor | None, options: Affinity
) -> tuple[Tensor, Size]:
    """Mix values (B, N, C) of a grid by the affinity of the features that are compared.

    Weights are the same for all heads and sum to 1, so that mixing after a linear projection equals
    mixing before it.

    Paper: [proxyclip] Sec. 3.2.

    Args:
        values: (B, N, C).
        grid: (h, w), N = h*w.
        compared: (B, C', h', w') of a guide, or of one of the tower's blocks.
        options: see `Affinity`.

    Returns:
        (B, h'*w', C) and (h', w').

    Raises:
        ValueError: nothing to compare, or a map of another number of images.
    """
    if compared is None:
        raise ValueError(
            "attention='affinity' with block=0 compares features of another network, and guide is "
            "None; use MaskCLIP with MODEL.MASKCLIP.GUIDE.NAME, or name a block of the tower"
        )
    if compared.dim() != 4 or len(compared) != len(values):
        raise ValueError(
            f"guide has shape {tuple(compared.shape)}; give ({len(values)}, C, h, w), a map for "
            "each image"
        )
    size = (compared.shape[2], compared.shape[3])
    mixed = mix_by_affinity(
        compared.flatten(2).transpose(1, 2),
        resize_tokens(values, grid, size),
        mean_weight=options.mean_weight,
        scale=options.scale,
    )
    return mixed, size


def resize_tokens(tokens: Tensor, grid: Size, size: Size) -> Tensor:
    """Interpolate tokens (B, h*w, C) bilinearly to another grid."""
    if grid == size:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, grid)
    maps = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    return maps.flatten(2).transpose(1, 2)


def self_calibrated(
    block: ResidualAttentionBlock, before: BeforeLast, options: Calibration
) -> Tensor:
    """Run the last block of [scclip]: patches (B, N, C), without residual and MLP.

    Source: the official code, clip/model.py.
    Departs: outliers are those of each image; the release takes one image at a time.
    """
    class_token, patches = before.tokens[:, :1], before.tokens[:, 1:]
    compared = before.outputs[options.affinity_block][:, 1:]
    if options.outlier_share:
        outliers = find_outliers(
            patches, share=options.outlier_share, neighbours=options.outlier_neighbours
        )
        patches = replace_by_neighbours(patches, outliers, before.grid)
        compared = replace_by_neighbours(compared, outliers, before.grid)
    patches = mix_by_cosines(compared, patches, threshold=options.threshold)
    out = _attend(block, patches, compared) + options.class_share * class_token
    if options.mixing_block:
        out = _mix_after(out, before, options)
    if not options.first_level:
        return out
    levels = range(options.first_level, options.last_level + 1)
    tokens = torch.stack([before.outputs[level] for level in levels]).sum(dim=0)
    second = _attend(block, tokens[:, 1:], compared) + options.class_share * tokens[:, :1]
    return out + (_mix_after(second, before, options) if options.mixing_block else second)


def _mix_after(patches: Tensor, before: BeforeLast, options: Calibration) -> Tensor:
    compared = before.outputs[options.mixing_block][:, 1:]
    return mix_by_cosines(compared, patches, threshold=options.threshold)


def _attend(block: ResidualAttentionBlock, patches: Tensor, compared: Tensor) -> Tensor:
    """Mean of key-key attention and the affinity of other features: (B, N, C)."""
    attn: nn.MultiheadAttention = block.attn
    width = attn.embed_dim
    weight, bias = attn.in_proj_weight[width:], attn.in_proj_bias[width:]
    k, v = F.linear(block.ln_1(patches), weight, bias).chunk(2, dim=-1)
    keys, values = (x.unflatten(2, (attn.num_heads, -1)).transpose(1, 2) for x in (k, v))
    by_keys = F.scaled_dot_product_attention(keys, keys, values).transpose(1, 2).flatten(2)
    by_affinity = mix_by_affinity(compared, v, mean_weight=1.0, scale=3.0)
    return attn.out_proj((by_keys + by_affinity) / 2)
