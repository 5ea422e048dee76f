"""mIoU that forgives names as right as the label, and the list of what it forgave."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..ops import forgive_pixels, forgiving_gains
from ..vocab import MORE_GENERAL
from .means import iou_of, mean_of_present

__all__ = ["forgiven_pairs", "forgiving_means"]

Related = Mapping[tuple[int, int], str]


def forgiving_means(counts: np.ndarray, related: Related) -> dict[str, float]:
    """Compute mIoU with synonyms and kinds of the label counted as right.

    Args:
        counts: (K, K) pixels, predicted class in rows.
        related: (predicted, labelled) -> relation, from `related_classes`.

    Returns:
        In percent ``mIoU_forgiving``, where a synonym of the label or a kind of it is right
        (skyscraper for building), and ``mIoU_forgiving_general``, where also what the label is a
        kind of is right (building for skyscraper), which says less than the label.
    """
    exact = {pair: kind for pair, kind in related.items() if kind != MORE_GENERAL}
    return {
        name: mean_of_present(
            iou_of(forgive_pixels(torch.from_numpy(counts), _matrix(pairs, len(counts))).numpy())
        )
        for name, pairs in (("mIoU_forgiving", exact), ("mIoU_forgiving_general", related))
    }


def forgiven_pairs(
    counts: np.ndarray, related: Related, names: Sequence[str]
) -> list[dict[str, Any]]:
    """List the related pairs of classes that were confused.

    Arguments are those of `forgiving_means`, and the K names.

    Returns:
        For each pair ``predicted`` and ``labelled``, the names; ``relation``, what the first is to
        the second; ``pixels``; ``gain``, what mIoU gains in percent if this pair alone is forgiven.
        Those that matter most come first.
    """
    gains = forgiving_gains(torch.from_numpy(counts), _matrix(related, len(counts)))
    pairs = [
        {
            "predicted": names[predicted],
            "labelled": names[labelled],
            "relation": kind,
            "pixels": int(counts[predicted, labelled]),
            "gain": round(100 * gains[predicted, labelled].item(), 4),
        }
        for (predicted, labelled), kind in related.items()
        if counts[predicted, labelled]
    ]
    return sorted(pairs, key=lambda pair: (-pair["gain"], -pair["pixels"], pair["predicted"]))


def _matrix(related: Related, num_classes: int) -> torch.Tensor:
    forgiven = torch.zeros(num_classes, num_classes, dtype=torch.bool)
    for predicted, labelled in related:
        forgiven[predicted, labelled] = True
    return forgiven
