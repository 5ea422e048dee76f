"""Pool dense features inside masks."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pool_masks"]


def pool_masks(feats: Tensor, weights: Tensor) -> Tensor:
    """Average dense features inside every mask.

    Paper: [pixelclip] Sec. 3.2, mask pooling: the mean of the features that a mask covers.
    Departs: weights may be soft (the share of a cell that the mask covers).

    Args:
        feats: (B, C, h, w) floating, raw.
        weights: (B, Q, h, w) in [0, 1], or bool.

    Returns:
        (B, Q, C) of the features' dtype; zeros for an empty mask.

    Raises:
        ValueError: batches or grids that differ.
    """
    if feats.shape[0] != weights.shape[0] or feats.shape[-2:] != weights.shape[-2:]:
        raise ValueError(
            f"feats {tuple(feats.shape)} and weights {tuple(weights.shape)} must agree in batch "
            "and grid; resize the masks to the features' grid first"
        )
    weights = weights.to(feats.dtype)
    total = torch.einsum("bchw,bqhw->bqc", feats, weights)
    area = weights.sum(dim=(-2, -1))[..., None]
    return torch.where(area > 0, total / area.clamp(min=torch.finfo(area.dtype).tiny), 0.0)
