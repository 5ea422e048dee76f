"""Draw the cluster targets and predictions of a training from unlabelled masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.viz.canvas import PAPER
from ovseg_d2.viz.overlay import draw_overlay

__all__ = ["draw_clusters"]

_NO_CLUSTER = -1
_GAP = 4  # pixels between two panels


def draw_clusters(
    image: NDArray[np.uint8], targets: Tensor, logits: Tensor, names: Sequence[str]
) -> Image.Image:
    """Draw the masks of an image by cluster, beside the prediction.

    Where masks of several clusters overlap, the cluster of the smallest area is drawn. A predicted
    pixel belongs to the best of the image's clusters, or to none if all probabilities are at most
    one half.

    Args:
        image: (H, W, 3) uint8 RGB.
        targets: (P, h, w), not zero inside the masks of a cluster.
        logits: (P, h, w), predicted.
        names: of the P clusters.

    Returns:
        RGB image: the targets on the left and the prediction on the right, both with a legend.

    Raises:
        ValueError: targets, logits or names that differ in number or size, or another image.
    """
    if targets.dim() != 3 or targets.shape != logits.shape or len(names) != len(targets):
        raise ValueError(
            f"targets have shape {tuple(targets.shape)}, logits {tuple(logits.shape)}, and there "
            f"are {len(names)} names; give (P, h, w) twice and P names"
        )
    inside = (targets != 0).float()
    areas = inside.sum(dim=(1, 2), keepdim=True)
    target = _best(inside / areas.clamp(min=1))
    predicted = _best(logits.float().sigmoid().masked_fill(areas == 0, 0.0), 0.5)
    panels = [
        draw_overlay(image, _resized(labels, image.shape[:2]), names, ignore_label=_NO_CLUSTER)
        for labels in (target, predicted)
    ]
    width = sum(panel.width for panel in panels) + _GAP
    canvas = Image.new("RGB", (width, max(panel.height for panel in panels)), PAPER)
    canvas.paste(panels[0], (0, 0))
    canvas.paste(panels[1], (panels[0].width + _GAP, 0))
    return canvas


def _best(scores: Tensor, threshold: float = 0.0) -> Tensor:
    """Return (h, w) indices of the best of (P, h, w), -1 where it does not exceed the threshold."""
    best, labels = scores.max(dim=0)
    return labels.masked_fill(best <= threshold, _NO_CLUSTER)


def _resized(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize (h, w) labels to the nearest pixel, on the CPU."""
    # Cluster indices are exact in float64.
    resized = F.interpolate(labels[None, None].double(), size=size, mode="nearest")
    return resized[0, 0].to(torch.int64).cpu()
