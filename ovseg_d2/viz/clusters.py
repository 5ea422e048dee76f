"""What a training from unlabelled masks sees: a picture, its clusters, and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.viz.overlay import draw_overlay

__all__ = ["draw_clusters"]

_NO_CLUSTER = -1
_GAP = 4  # pixels between two panels
_PAPER = (255, 255, 255)


def draw_clusters(
    image: NDArray[np.uint8], targets: Tensor, logits: Tensor, names: Sequence[str]
) -> Image.Image:
    """Draw an image's masks beside what is predicted for the clusters that they belong to.

    Where masks of several clusters overlap, the one that covers least is seen. A predicted pixel
    belongs to the best of the image's clusters, or to none where all are below one half.

    Args:
        image: (H, W, 3) uint8 RGB.
        targets: (P, h, w), not zero inside of each cluster's masks.
        logits: (P, h, w), predicted for each cluster.
        names: of the P clusters.

    Returns:
        RGB picture: on the left the targets, on the right the prediction, each with its legend.

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
    given = _best(inside / areas.clamp(min=1))
    predicted = _best(logits.float().sigmoid().masked_fill(areas == 0, 0.0), 0.5)
    panels = [
        draw_overlay(image, _resized(labels, image.shape[:2]), names, ignore_label=_NO_CLUSTER)
        for labels in (given, predicted)
    ]
    width = sum(panel.width for panel in panels) + _GAP
    canvas = Image.new("RGB", (width, max(panel.height for panel in panels)), _PAPER)
    canvas.paste(panels[0], (0, 0))
    canvas.paste(panels[1], (panels[0].width + _GAP, 0))
    return canvas


def _best(scores: Tensor, threshold: float = 0.0) -> Tensor:
    """(P, h, w) to the index of the best, where it is above the threshold."""
    best, labels = scores.max(dim=0)
    return labels.masked_fill(best <= threshold, _NO_CLUSTER)


def _resized(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """(h, w) to the nearest pixel of another size."""
    # Indices of clusters are exact in double precision.
    resized = F.interpolate(labels[None, None].double(), size=size, mode="nearest")
    return resized[0, 0].to(torch.int64).cpu()
