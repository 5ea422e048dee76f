"""Turn scores on a patch grid into scores or labels at pixels.

Geometry of the whole package: an image of (H, W) pixels is padded at the bottom and right to whole
patches; the h x w grid covers the *padded* image. So scores are resized to the padded size, cropped
to the image, and then resized to the output size. Resizing is bilinear with
``align_corners=False``: the score of a cell belongs to its centre.
"""

from __future__ import annotations

from typing import Literal, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops.precision import at_least_float32

__all__ = ["dense_argmax", "upsample_scores"]

Size = tuple[int, int]

# Scores in memory at once: 64 MiB of float32.
MAX_ELEMENTS = 2**24


def upsample_scores(
    scores: Tensor, padded_size: Size, image_size: Size, out_size: Size | None = None
) -> Tensor:
    """Resize grid scores to pixels, without the padding of the image.

    Args:
        scores: (K, h, w) or (B, K, h, w) floating, on a grid that covers the padded image.
        padded_size: (h, w) of the padded image in pixels.
        image_size: (h, w) of the image in pixels, at the padded image's top left.
        out_size: (H, W) of the result; None means ``image_size``.

    Returns:
        (K, H, W) or (B, K, H, W) scores at ``out_size``, of the same dtype.

    Raises:
        ValueError: scores of another shape, a size below 1 or an image larger than its padding.
    """
    out_size = image_size if out_size is None else out_size
    _check(scores, padded_size, image_size, out_size)
    batch = scores if scores.dim() == 4 else scores[None]
    batch = F.interpolate(batch, size=padded_size, mode="bilinear", align_corners=False)
    batch = batch[..., : image_size[0], : image_size[1]]
    if tuple(out_size) != tuple(image_size):
        batch = F.interpolate(batch, size=out_size, mode="bilinear", align_corners=False)
    return batch if scores.dim() == 4 else batch[0]


@overload
def dense_argmax(
    scores: Tensor,
    size: Size,
    *,
    crop: Size | None = ...,
    image_size: Size | None = ...,
    max_elements: int = ...,
    return_scores: Literal[False] = ...,
) -> Tensor: ...


@overload
def dense_argmax(
    scores: Tensor,
    size: Size,
    *,
    crop: Size | None = ...,
    image_size: Size | None = ...,
    max_elements: int = ...,
    return_scores: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@torch.no_grad()
def dense_argmax(
    scores: Tensor,
    size: Size,
    *,
    crop: Size | None = None,
    image_size: Size | None = None,
    max_elements: int = MAX_ELEMENTS,
    return_scores: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Return the best class of every pixel: the argmax of `upsample_scores`, in bands of rows.

    The K x H x W scores are never in memory; at 847 classes and 640 x 850 pixels they would take
    1.8 GB. Resizing is separable, so a band needs only the few grid rows around it. Sums are in
    float32 (float64 for float64 scores) and in the same order for every class, so that equal scores
    stay equal; the lowest index wins a tie.

    Args:
        scores: (K, h, w) or (B, K, h, w) floating and finite.
        size: (H, W) of the labels in pixels.
        crop: (h, w) in pixels of the padded image that the grid covers, with the image at its top
            left; None: the grid covers the image exactly.
        image_size: (h, w) in pixels of the image inside ``crop``, from which scores are resized a
            second time, to ``size``; None means ``size``.
        max_elements: most scores in memory at once; a band has at least one row.
        return_scores: also return the winning scores.

    Returns:
        Labels (H, W) or (B, H, W) int64; with ``return_scores`` also the scores, same shape.

    Raises:
        ValueError: scores of another shape, a size below 1 or an image larger than ``crop``.
    """
    image_size = size if image_size is None else image_size
    padded_size = image_size if crop is None else crop
    _check(scores, padded_size, image_size, size)
    if scores.dim() == 4:
        pairs = [
            _argmax_one(s, size, padded_size, image_size, max_elements) for s in scores.unbind()
        ]
        labels = torch.stack([pair[0] for pair in pairs])
        best = torch.stack([pair[1] for pair in pairs])
    else:
        labels, best = _argmax_one(scores, size, padded_size, image_size, max_elements)
    return (labels, best) if return_scores else labels


def _argmax_one(
    scores: Tensor, size: Size, padded_size: Size, image_size: Size, max_elements: int
) -> tuple[Tensor, Tensor]:
    num_classes, grid_h, _ = scores.shape
    rows, weights = _row_taps(grid_h, padded_size[0], image_size[0], size[0], scores.device)
    scores = at_least_float32(scores)
    weights = weights.to(scores.dtype)
    widest = max(padded_size[1], size[1])
    band = max(1, max_elements // (num_classes * widest))
    labels = torch.empty(size, dtype=torch.long, device=scores.device)
    best = torch.empty(size, dtype=scores.dtype, device=scores.device)
    for start in range(0, size[0], band):
        part = slice(start, start + band)
        band_scores = sum(
            scores[:, tap_rows] * tap_weights[:, None]
            for tap_rows, tap_weights in zip(rows[:, part], weights[:, part], strict=True)
        )  # (K, band, w)
        band_scores = resize_last(band_scores, padded_size[1])[..., : image_size[1]]
        band_scores = resize_last(band_scores, size[1])
        best[part], labels[part] = band_scores.max(dim=0)
    return labels, best


def resize_last(values: Tensor, size: int) -> Tensor:
    """Resize the last axis of (K, band, w) linearly."""
    if values.shape[-1] == size:
        return values
    return F.interpolate(values, size=size, mode="linear", align_corners=False)


def _row_taps(
    grid: int, padded: int, image: int, out: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the source rows of every output row and their weights, both (taps, out).

    There are two taps, and four after a second resizing.
    """
    rows, weights = linear_taps(grid, padded)
    rows, weights = rows[:, :image], weights[:, :image]
    if out != image:
        again, again_weights = linear_taps(image, out)
        rows = rows[:, again].flatten(0, 1)
        weights = (weights[:, again] * again_weights).flatten(0, 1)
    return rows.to(device), weights.to(device)


def linear_taps(in_size: int, out_size: int) -> tuple[Tensor, Tensor]:
    """Return the source positions and weights of linear resizing, both (2, out_size)."""
    centres = torch.arange(out_size, dtype=torch.float64) + 0.5
    source = (centres * (in_size / out_size) - 0.5).clamp(min=0, max=in_size - 1)
    low = source.floor().long()
    high = (low + 1).clamp(max=in_size - 1)
    fraction = source - low
    return torch.stack([low, high]), torch.stack([1 - fraction, fraction])


def _check(scores: Tensor, padded_size: Size, image_size: Size, out_size: Size) -> None:
    if scores.dim() not in (3, 4) or 0 in scores.shape[-3:]:
        raise ValueError(
            f"scores have shape {tuple(scores.shape)}; give (K, h, w) or (B, K, h, w) with at "
            "least one class and one grid cell"
        )
    if not scores.is_floating_point():
        raise ValueError(f"scores have dtype {scores.dtype}; convert them to a floating type")
    if min(*padded_size, *image_size, *out_size) < 1:
        raise ValueError(
            f"sizes must be at least 1 pixel, got padded {tuple(padded_size)}, image "
            f"{tuple(image_size)}, output {tuple(out_size)}"
        )
    if image_size[0] > padded_size[0] or image_size[1] > padded_size[1]:
        raise ValueError(
            f"the image size {tuple(image_size)} exceeds the padded size {tuple(padded_size)} "
            "that the grid covers; give image_size if the output is larger than the image"
        )
