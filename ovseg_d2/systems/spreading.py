"""Scores of all windows of an image, spread between locations with similar features.

Shape shorthand: n windows, D joint embedding, C channels of the compared features, R rows of text,
h x w locations of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.clip import LastBlock
from ovseg_d2.ops import (
    Propagation,
    Refinement,
    mix_by_affinity,
    neighbour_graph,
    propagate_scores,
)

__all__ = ["Spreading", "check_guide", "spread_scores"]


@dataclass(frozen=True)
class Spreading:
    """Options of `spread_scores`; the default does nothing.

    Attributes:
        mixing_scale: factor of the cosines by which features mix over the whole image before they
            are compared with texts; 10 in [radseg], None mixes none.
        propagation: spreads the scores over a graph of similar locations; None does not.
    """

    mixing_scale: float | None = None
    propagation: Propagation | None = None

    def __post_init__(self) -> None:
        """Check the scale."""
        if self.mixing_scale is not None and not self.mixing_scale > 0:
            raise ValueError(
                f"mixing_scale={self.mixing_scale}; give a positive factor of cosines, or None"
            )


def check_guide(
    last_block: LastBlock, refine: Refinement, spreading: Spreading, *, has_guide: bool
) -> None:
    """Refuse options that do not go together.

    Raises:
        ValueError: a last block that needs a guide without one; or key smoothing with a guide or
            with spreading.
    """
    if last_block.needs_guide and not has_guide:
        raise ValueError(
            "attention='affinity' with block=0 compares features of another network, and guide is "
            "None; name one in MODEL.MASKCLIP.GUIDE.NAME, such as 'vit_base_patch8_224.dino', or a "
            "block of the tower in MODEL.CLIP.LAST_BLOCK.AFFINITY.BLOCK"
        )
    spreads = spreading != Spreading()
    if refine.key_smoothing is not None and (last_block.needs_guide or spreads):
        raise ValueError(
            f"key_smoothing={refine.key_smoothing} has keys on the tower's grid, and it does not "
            "go with a guide, with mixing or with propagation; leave it None"
        )


def spread_scores(
    feats: Tensor,
    compared: Tensor | None,
    boxes: Sequence[tuple[int, int, int, int]],
    covered: tuple[int, int],
    text_embeds: Tensor,
    spreading: Spreading,
) -> Tensor:
    """Compare the features of an image's windows with texts, and spread them or the scores.

    Sources: the official codes of [radseg] (global aggregation, radseg/radseg.py) and of [lposs].
    Departs: [radseg] takes the mean of windows first; here all their locations are compared, those
    of overlaps once for each window, as in [lposs].

    Args:
        feats: (n, D, h, w), raw.
        compared: (n, C, h', w') features that the graph compares; scores are then on their grid.
            None compares ``feats``.
        boxes: xyxy of the windows, in pixels.
        covered: (h, w) in pixels that the grid of a window spans.
        text_embeds: (R, D) unit norm.
        spreading: what to do.

    Returns:
        (n, R, h, w), or on the grid of ``compared``: cosines, after propagation without a range.
    """
    # Half precision would make the cosines of different classes equal.
    with torch.autocast(feats.device.type, enabled=False):
        if compared is not None and compared.shape[2:] != feats.shape[2:]:
            feats = F.interpolate(feats, compared.shape[2:], mode="bilinear", align_corners=False)
        grid = (feats.shape[2], feats.shape[3])
        feats = _locations(feats.float())
        if spreading.mixing_scale is not None:
            mixed = mix_by_affinity(
                feats[None], feats[None], mean_weight=1.0, scale=spreading.mixing_scale
            )
            feats = mixed[0]
        scores = F.normalize(feats, dim=-1) @ text_embeds.to(feats).T
        if spreading.propagation is not None:
            places = _places(boxes, grid, covered).to(feats)
            other = feats if compared is None else _locations(compared)
            graph = neighbour_graph(other, places, spreading.propagation)
            scores = propagate_scores(graph, scores, spreading.propagation)
        return scores.unflatten(0, (len(boxes), *grid)).movedim(-1, 1)


def _locations(maps: Tensor) -> Tensor:
    """(n, C, h, w) -> (n*h*w, C)."""
    return maps.movedim(1, -1).flatten(0, 2)


def _places(
    boxes: Sequence[tuple[int, int, int, int]], grid: tuple[int, int], covered: tuple[int, int]
) -> Tensor:
    """Centres (n*h*w, 2) of the windows' locations, in pixels of the image."""
    rows, columns = (
        (torch.arange(cells) + 0.5) * side / cells
        for cells, side in zip(grid, covered, strict=True)
    )
    cells = torch.cartesian_prod(rows, columns)
    corners = torch.tensor([(top, left) for left, top, _, _ in boxes])
    return (corners[:, None] + cells).flatten(0, 1)
