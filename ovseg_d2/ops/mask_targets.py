"""Unlabelled masks as training targets: resized, as weights of a grid, merged by cluster."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["location_weights", "merge_masks", "resize_masks"]

Size = tuple[int, int]


def resize_masks(masks: Tensor, size: Size, *, min_pixels: int = 2) -> tuple[Tensor, Tensor]:
    """Resize masks to the nearest pixel and drop those that become too small.

    Source: the official code of [pixelclip], which drops masks of at most one pixel.

    Args:
        masks: (N, H, W) bool, or numbers that are not zero inside.
        size: (h, w) in pixels.
        min_pixels: least pixels of a resized mask.

    Returns:
        The M masks that stay (M, h, w) bool, and which of all masks these are (N,) bool.

    Raises:
        ValueError: masks of another shape.
    """
    if masks.dim() != 3:
        raise ValueError(f"masks have shape {tuple(masks.shape)}; give (N, H, W)")
    if len(masks) == 0:
        return masks.new_zeros((0, *size), dtype=torch.bool), masks.new_zeros(0, dtype=torch.bool)
    # Not every device resizes booleans or 8 bits.
    resized = F.interpolate((masks != 0).float()[None], size=size, mode="nearest")[0] > 0
    kept = resized.sum(dim=(1, 2)) >= min_pixels
    return resized[kept], kept


def location_weights(masks: Tensor, grid: Size) -> Tensor:
    """Return the weight of every location of a coarse grid in the mean over a mask's pixels.

    The mean over a mask of features resized to its pixels (bilinear, ``align_corners=False``) is
    the mean of the coarse features with these weights: resizing is linear, and this is its
    transpose. So features at every pixel are not needed.

    Paper: [pixelclip] Sec. 3.2, mask pooling of features at the masks' resolution.

    Args:
        masks: (M, H, W) bool, or weights of the pixels.
        grid: (h, w) of the features, which cover the same image.

    Returns:
        (M, h, w) float32, about the share of a location that the mask covers, from 0 to about 1.
    """
    height, width = masks.shape[-2:]
    rows = _resizing(grid[0], height, masks.device)
    columns = _resizing(grid[1], width, masks.device)
    weights = torch.einsum("myx,hy,wx->mhw", masks.float(), rows, columns)
    return weights * (grid[0] * grid[1] / (height * width))


def _resizing(length: int, out_length: int, device: torch.device) -> Tensor:
    """Return linear resizing as a matrix (length, out_length)."""
    impulses = torch.eye(length, device=device)[None]
    return F.interpolate(impulses, size=out_length, mode="linear", align_corners=False)[0]


def merge_masks(
    masks: Tensor, image_ids: Tensor, cluster_ids: Tensor, *, num_images: int, num_clusters: int
) -> Tensor:
    """Unite the masks of an image that are assigned to the same cluster.

    Paper: [pixelclip] Sec. 3.3, the merged targets.

    Args:
        masks: (M, H, W) bool, of all images.
        image_ids: (M,) int64, the image of a mask, 0..B-1.
        cluster_ids: (M,) int64, the cluster of a mask, 0..P-1.
        num_images: B.
        num_clusters: P.

    Returns:
        (B, P, H, W) float32 of 0 and 1.

    Raises:
        ValueError: numbers of masks and ids that differ.
    """
    if not len(masks) == len(image_ids) == len(cluster_ids):
        raise ValueError(
            f"{len(masks)} masks, {len(image_ids)} image_ids and {len(cluster_ids)} cluster_ids; "
            "give one of each for every mask"
        )
    size = masks.shape[-2:]
    merged = masks.new_zeros((num_images * num_clusters, *size), dtype=torch.float32)
    merged.index_add_(0, image_ids * num_clusters + cluster_ids, masks.float())
    return merged.clamp_(max=1).view(num_images, num_clusters, *size)
