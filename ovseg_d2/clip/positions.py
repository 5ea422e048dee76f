"""Position embeddings at other resolutions.

A tower learns one vector per patch of its native grid. Any other grid gets them by interpolation,
decided by the grid's *shape*: a 2x8 and a 4x4 grid have as many patches, and different positions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def resample_positions(
    pos_embed: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix_tokens: int = 1,
) -> Tensor:
    """Interpolate a grid of position embeddings to another grid, bicubically.

    Departs: the releases of [maskclip] and [pixelclip] resample when the *number* of tokens
    differs, so a grid of another shape and equal count keeps the wrong positions there.

    Args:
        pos_embed: (num_prefix_tokens + h*w, C) float, rows in reading order after the prefix.
        old_grid: (h, w) patches that `pos_embed` was learnt for.
        new_grid: (h, w) patches that are wanted.
        num_prefix_tokens: leading rows, such as the class token's, that have no place in the
            grid and are kept as they are.

    Returns:
        (num_prefix_tokens + h'*w', C), same dtype; `pos_embed` itself when the grids agree.

    Raises:
        ValueError: `pos_embed` has another number of rows than `old_grid` asks for.
    """
    h, w = old_grid
    if pos_embed.shape[0] != num_prefix_tokens + h * w:
        raise ValueError(
            f"pos_embed has {pos_embed.shape[0]} rows, but old_grid={tuple(old_grid)} with "
            f"{num_prefix_tokens} prefix tokens asks for {num_prefix_tokens + h * w}; "
            "give the grid the embeddings were learnt for."
        )
    if tuple(old_grid) == tuple(new_grid):
        return pos_embed
    prefix, patches = pos_embed[:num_prefix_tokens], pos_embed[num_prefix_tokens:]
    # Half precision is interpolated in float32: the bicubic weights cancel badly in 8 bits.
    exact = torch.promote_types(patches.dtype, torch.float32)
    maps = patches.to(exact).reshape(1, h, w, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=tuple(new_grid), mode="bicubic", align_corners=False)
    patches = maps.flatten(2)[0].T.to(pos_embed.dtype)  # (1, C, h', w') -> (h'*w', C)
    return torch.cat([prefix, patches])
