"""Assign pixels to background: by confidence, by background words, or by the size of classes.

All functions take probabilities at pixels and keep the K channels: only the argmax changes, so that
evaluators read the result like other scores. Background is a class with a channel of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "Background",
    "background_by_threshold",
    "filter_small_areas",
    "find_background",
    "merge_background",
]


@dataclass(frozen=True)
class Background:
    """Options of `find_background`.

    Attributes:
        threshold: pixels where no class is at least this probable become background; None: no
            pixel does.
        min_share: classes that win no more than this share of an image's foreground are dropped,
            0.1 for VOC's 21 classes in [sclip]; None keeps all.

    Raises:
        ValueError: a number outside [0, 1].
    """

    threshold: float | None = None
    min_share: float | None = None

    def __post_init__(self) -> None:
        """Check that both numbers are in [0, 1]."""
        for name in ("threshold", "min_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; give a number in [0, 1], or None")


def find_background(
    probs: Tensor,
    background: Background,
    background_ids: Sequence[int],
    areas: Tensor | None = None,
    class_thresholds: Tensor | None = None,
) -> Tensor:
    """Merge background classes, drop small classes, then doubtful pixels, in the order of [sclip].

    Args:
        probs: (K, H, W) or (B, K, H, W) in [0, 1]; scores of any kind for `Background()`.
        background: the options.
        background_ids: the classes that mean background; they become one, the first.
        areas: as for `filter_small_areas`, if ``probs`` are only a part of the image.
        class_thresholds: (K,) thresholds of single classes, NaN for those that have the threshold
            of ``background``; None: all have.

    Returns:
        Probabilities of the shape of ``probs``.

    Raises:
        ValueError: as the three functions, or options without a background class.
    """
    if class_thresholds is not None and not background_ids:
        raise ValueError(
            "thresholds of single classes need a class to give pixels to, and background_ids is "
            "empty; add a background class to the vocabulary, or leave "
            "MODEL.MASKCLIP.CLASS_THRESHOLDS []"
        )
    if background != Background() and not background_ids:
        raise ValueError(
            f"{background} needs a class to give pixels to, and background_ids is empty; add a "
            "background class to the vocabulary, or leave these options None"
        )
    probs = merge_background(probs, background_ids)
    if background.min_share is not None:
        probs = filter_small_areas(probs, background.min_share, background_ids[0], areas)
    threshold: float | Tensor | None = background.threshold
    if class_thresholds is not None:
        threshold = class_thresholds.to(probs).nan_to_num(background.threshold or 0.0)
    if threshold is not None:
        probs = background_by_threshold(probs, threshold, background_ids[0])
    return probs


def background_by_threshold(probs: Tensor, threshold: float | Tensor, background_id: int) -> Tensor:
    """Make background of the pixels where no class is probable enough.

    Source: the official code of [sclip]: background where the best probability, that of background
    included, is below the threshold (0.1 there; [proxyclip] has 0.2 for VOC, 0.15 for Context, 0.25
    for COCO-Object).

    Args:
        probs: (K, H, W) or (B, K, H, W) floating.
        threshold: pixels whose best probability reaches it do not change; or (K,), one for each
            class, which counts at the pixels where the class is best.
        background_id: index of the background class.

    Returns:
        Probabilities of the shape of ``probs``; the threshold is background's at these pixels.

    Raises:
        ValueError: another shape or type, another number of thresholds, or an index out of range.
    """
    _check(probs, [background_id])
    best = probs.amax(dim=-3)
    if isinstance(threshold, Tensor):
        if tuple(threshold.shape) != (probs.shape[-3],):
            raise ValueError(
                f"threshold has shape {tuple(threshold.shape)} and probs {tuple(probs.shape)}; "
                "give one number, or one for each class"
            )
        threshold = threshold.to(probs)[probs.argmax(dim=-3)]
    background = probs[..., background_id, :, :]
    out = probs.clone()
    out[..., background_id, :, :] = torch.where(best < threshold, threshold, background)
    return out


def merge_background(probs: Tensor, background_ids: Sequence[int]) -> Tensor:
    """Merge all classes that mean background into the first of them.

    Args:
        probs: (K, H, W) or (B, K, H, W) floating, scores of any kind.
        background_ids: indices of these classes; with fewer than two ``probs`` are returned.

    Returns:
        Scores of the shape of ``probs``: the first of these classes has their best score, the
        others have -inf, so that only the pixels of these classes change.

    Raises:
        ValueError: another shape or type, or an index out of range.
    """
    _check(probs, background_ids)
    if len(background_ids) < 2:
        return probs
    first, *others = background_ids
    out = probs.clone()
    out[..., first, :, :] = probs[..., list(background_ids), :, :].amax(dim=-3)
    out[..., others, :, :] = -torch.inf
    return out


def filter_small_areas(
    probs: Tensor, min_share: float, background_id: int, areas: Tensor | None = None
) -> Tensor:
    """Drop the classes that win too little of an image's foreground.

    Source: the official code of [sclip], with 0.1 on VOC's 21 classes: a class stays if it wins
    more than that share of the pixels that background does not win. The pixels of a dropped class
    go to their next best class, background included.

    Args:
        probs: (K, H, W) or (B, K, H, W) in [0, 1].
        min_share: share of the foreground, in [0, 1].
        background_id: index of the background class, which always stays.
        areas: (K,) or (B, K) pixels that every class wins, if ``probs`` are only a part of the
            image; None counts them in ``probs``.

    Returns:
        Probabilities of the shape of ``probs``, zero in the channels of dropped classes.

    Raises:
        ValueError: another shape or type, an index out of range, or a share outside [0, 1].
    """
    _check(probs, [background_id])
    if not 0 <= min_share <= 1:
        raise ValueError(f"min_share is {min_share}; it is a share of an image, in [0, 1]")
    num_classes = probs.shape[-3]
    if areas is None:
        winners = probs.argmax(dim=-3).flatten(-2)  # (H*W,) or (B, H*W)
        areas = winners.new_zeros(*winners.shape[:-1], num_classes)
        areas.scatter_add_(-1, winners, torch.ones_like(winners))
    elif areas.shape != probs.shape[:-2]:
        raise ValueError(
            f"areas have shape {tuple(areas.shape)} and probs {tuple(probs.shape)}; give one "
            "number per class"
        )
    is_background = torch.arange(num_classes, device=probs.device) == background_id
    foreground = areas.masked_fill(is_background, 0).sum(dim=-1, keepdim=True)
    stays = (areas > min_share * foreground) | is_background
    # A product with zero would make NaN of -inf, the score of merged background.
    return torch.where(stays[..., None, None], probs, probs.clamp(max=0))


def _check(probs: Tensor, class_ids: Sequence[int]) -> None:
    if probs.dim() not in (3, 4) or not probs.is_floating_point():
        raise ValueError(
            f"probs have shape {tuple(probs.shape)} and dtype {probs.dtype}; give (K, H, W) or "
            "(B, K, H, W) of a floating type"
        )
    for class_id in class_ids:
        if not 0 <= class_id < probs.shape[-3]:
            raise ValueError(
                f"background class {class_id} is not one of the {probs.shape[-3]} classes "
                f"0..{probs.shape[-3] - 1}; add a background class to the vocabulary"
            )
