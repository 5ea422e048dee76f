"""Position embeddings at other resolutions.

A tower learns one vector per patch of its native grid. Grids of another *shape* get interpolated
vectors: a 2x8 and a 4x4 grid have the same number of patches, and different positions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def resample_positions(
    pos_embed: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix_tokens: int = 1,
    *,
    official: bool = False,
) -> Tensor:
    """Interpolate a grid of position embeddings bicubically to another grid.

    Departs: the releases of [maskclip] and [pixelclip] resample only if the *number* of tokens
    differs; a grid of another shape and equal number keeps wrong positions there.

    Args:
        pos_embed: (num_prefix_tokens + h*w, C) float, rows in reading order after the prefix.
        old_grid: (h, w) patches that `pos_embed` was learnt for.
        new_grid: (h', w') patches of the result.
        num_prefix_tokens: leading rows outside of the grid, such as the class token's; kept.
        official: resample as the releases of [sclip], [clearclip] and [naclip]: only if the number
            of patches differs, and as if the new grid had a tenth of a patch more each way.

    Returns:
        (num_prefix_tokens + h'*w', C), same dtype; `pos_embed` itself if the grids are equal.

    Raises:
        ValueError: the number of rows does not match `old_grid`.
    """
    h, w = old_grid
    if pos_embed.shape[0] != num_prefix_tokens + h * w:
        raise ValueError(
            f"pos_embed has {pos_embed.shape[0]} rows, but old_grid={tuple(old_grid)} with "
            f"{num_prefix_tokens} prefix tokens needs {num_prefix_tokens + h * w}; "
            "give the grid that the embeddings were learnt for."
        )
    new_h, new_w = new_grid
    if (h, w) == (new_h, new_w) or (official and h * w == new_h * new_w):
        return pos_embed
    prefix, patches = pos_embed[:num_prefix_tokens], pos_embed[num_prefix_tokens:]
    # Half precision is interpolated in float32: bicubic weights cancel badly in few bits.
    exact = torch.promote_types(patches.dtype, torch.float32)
    maps = patches.to(exact).reshape(1, h, w, -1).permute(0, 3, 1, 2)
    if official:
        factors = ((new_h + 0.1) / h, (new_w + 0.1) / w)
        maps = F.interpolate(maps, scale_factor=factors, mode="bicubic", align_corners=False)
    else:
        maps = F.interpolate(maps, size=(new_h, new_w), mode="bicubic", align_corners=False)
    patches = maps.flatten(2)[0].T.to(pos_embed.dtype)  # (1, C, h', w') -> (h'*w', C)
    return torch.cat([prefix, patches])
