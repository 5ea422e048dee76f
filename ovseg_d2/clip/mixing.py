"""Values of patches mixed by the similarity of their queries or keys.

Shape shorthand: B images, N = h*w patches, d width of a head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .last_block import LastBlock


def mix_values(
    q: Tensor, k: Tensor, v: Tensor, grid: tuple[int, int], last_block: LastBlock
) -> Tensor:
    """Mix values as the last block's attention says.

    Args:
        q: (B, heads, P + N, d) queries; before the grid's patches may stand tokens without a place,
            such as the class token.
        k: keys, of the shape of ``q``.
        v: values, of the shape of ``q``.
        grid: (h, w) of the patches.
        last_block: its attention correlates patches.

    Returns:
        (B, heads, P + N, d).
    """
    attend = F.scaled_dot_product_attention  # softmax(a b^T / sqrt(head width)) v
    if last_block.attention == "qq":
        return attend(q, q, v)
    if last_block.attention == "kk":
        return attend(k, k, v)
    if last_block.attention == "qq+kk":
        return attend(q, q, v) + attend(k, k, v)
    near = _neighbourhood(grid, last_block.neighbourhood_std, like=k)
    others = k.shape[2] - len(near)
    near = F.pad(near, (others, 0, others, 0))
    return attend(k, k, v, attn_mask=near)


def _neighbourhood(grid: tuple[int, int], std: float, like: Tensor) -> Tensor:
    """Gaussian (peak 1) of the distance between all pairs of patches of a grid: (N, N)."""
    h, w = grid
    # At least float32: squared distances of large grids overflow half precision.
    dtype = torch.promote_types(like.dtype, torch.float32)
    row = torch.arange(h, dtype=dtype, device=like.device)
    column = torch.arange(w, dtype=dtype, device=like.device)
    along_rows = torch.exp(-((row[:, None] - row) ** 2) / (2 * std**2))
    along_columns = torch.exp(-((column[:, None] - column) ** 2) / (2 * std**2))
    return torch.kron(along_rows, along_columns).to(like.dtype)
