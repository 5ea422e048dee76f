"""Correction of label maps by masks: all pixels of a mask get one label, or one row of scores.

Shape shorthand: Q masks, K classes, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ovseg_d2.ops.precision import at_least_float32

__all__ = [
    "MapCorrection",
    "check_owners",
    "correct_labels",
    "correct_scores",
    "mask_owners",
    "mask_scores",
]

Rule = Literal["mode", "mean"]


@dataclass(frozen=True, eq=False)
class MapCorrection:
    """The masks of one image, and what their pixels get.

    Attributes:
        owners: (H, W) int64, the mask of each pixel, see `mask_owners`; -1 for pixels without one,
            which keep their scores.
        rule: "mode" is the label that most pixels of the mask have, of equally many the one with
            the best mean score; "mean" the label with the best mean score.
    """

    owners: Tensor
    rule: Rule = "mode"

    def __post_init__(self) -> None:
        """Check the rule and the shape of the owners.

        Raises:
            ValueError: an unknown rule, or owners that are not (H, W) int64.
        """
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule is {self.rule!r}; choose one of {get_args(Rule)}")
        if self.owners.dim() != 2 or self.owners.dtype != torch.int64:
            raise ValueError(
                f"owners have shape {tuple(self.owners.shape)} and dtype {self.owners.dtype}; give "
                "(H, W) of int64"
            )

    @property
    def num_masks(self) -> int:
        """Q, without the masks that own no pixel after the last one that does."""
        return int(self.owners.max()) + 1 if self.owners.numel() else 0


def mask_owners(masks: Tensor) -> Tensor:
    """Return which mask each pixel belongs to: of several, the largest.

    Source: the code of CorrCLIP (arXiv 2411.10086), which paints masks in the order of their areas.
    Of masks of one area the last counts.

    Args:
        masks: (Q, H, W) bool, which may overlap; Q may be 0.

    Returns:
        (H, W) int64 indices of masks; -1 where there is none.

    Raises:
        ValueError: masks of another shape or dtype.
    """
    if masks.dim() != 3 or masks.dtype != torch.bool:
        raise ValueError(
            f"masks have shape {tuple(masks.shape)} and dtype {masks.dtype}; give (Q, H, W) of bool"
        )
    owners = torch.full(masks.shape[1:], -1, dtype=torch.int64, device=masks.device)
    areas = masks.flatten(1).sum(dim=1)
    for index in areas.argsort(stable=True).tolist():
        owners.masked_fill_(masks[index], index)
    return owners


def mask_scores(scores: Tensor, owners: Tensor, num_masks: int) -> tuple[Tensor, Tensor]:
    """Add up the scores and the best classes of the pixels of each mask.

    Both are sums over pixels, so that those of several bands of rows may be added.

    Args:
        scores: (K, H, W) floating.
        owners: (H, W) int64 below ``num_masks``; -1 is no mask.
        num_masks: Q.

    Returns:
        Votes (Q, K) int64, the pixels whose best class is k; and sums of scores (Q, K), float32
        (float64 for float64 scores).
    """
    num_classes = len(scores)
    owned = owners.flatten() >= 0
    rows = owners.flatten()[owned]
    columns = scores.argmax(dim=0).flatten()[owned]
    votes = torch.bincount(rows * num_classes + columns, minlength=num_masks * num_classes)
    sums = at_least_float32(scores).new_zeros(num_masks, num_classes)
    sums.index_add_(0, rows, at_least_float32(scores).flatten(1)[:, owned].t())
    return votes.view(num_masks, num_classes), sums


def correct_labels(
    labels: Tensor, votes: Tensor, sums: Tensor, correction: MapCorrection
) -> Tensor:
    """Give the pixels of each mask its label.

    Paper: CorrCLIP (arXiv 2411.10086), map correction.
    Departs: where two labels are equally frequent, the release takes the lower one.

    Args:
        labels: (H, W) int64.
        votes: (Q, K) of `mask_scores`, over the whole image.
        sums: (Q, K) of `mask_scores`, over the whole image.
        correction: its owners are (H, W).

    Returns:
        (H, W) int64.
    """
    if not len(votes):
        return labels
    best = _row_scores(votes, sums, correction).argmax(dim=1)
    owners = correction.owners
    return torch.where(owners >= 0, best[owners.clamp(min=0)], labels)


def correct_scores(scores: Tensor, correction: MapCorrection) -> Tensor:
    """Give the pixels of each mask one row of scores, whose best class is the mask's label.

    By the rule "mean" a row holds the means over the mask. By "mode" it holds the same numbers in
    the order of the votes, so that the best of any choice among the classes has the most votes.

    Args:
        scores: (K, H, W) floating.
        correction: its owners are (H, W).

    Returns:
        (K, H, W) of the scores' dtype; its argmax is what `correct_labels` gives.

    Raises:
        ValueError: owners of another size.
    """
    check_owners(correction, (scores.shape[1], scores.shape[2]))
    if not correction.num_masks:
        return scores
    rows = _row_scores(*mask_scores(scores, correction.owners, correction.num_masks), correction)
    corrected = torch.empty_like(scores)
    for line, owners in enumerate(correction.owners):  # a row of pixels needs little memory
        owned = rows.t()[:, owners.clamp(min=0)].to(scores.dtype)
        corrected[:, line] = torch.where(owners >= 0, owned, scores[:, line])
    return corrected


def check_owners(correction: MapCorrection, size: tuple[int, int]) -> None:
    """Refuse a correction for another size (H, W).

    Raises:
        ValueError: the sizes differ.
    """
    if tuple(correction.owners.shape) != tuple(size):
        raise ValueError(
            f"owners are {tuple(correction.owners.shape)} and the scores {tuple(size)} pixels; "
            "resize the masks to the size of the result"
        )


def _row_scores(votes: Tensor, sums: Tensor, correction: MapCorrection) -> Tensor:
    """Scores (Q, K) of the masks; rows of masks without pixels are zeros."""
    means = sums / votes.sum(dim=1, keepdim=True).clamp(min=1)
    if correction.rule == "mean":
        return means
    # By votes, and by means where votes are equal: stable sorts, the less important one first.
    by_mean = means.argsort(dim=1, stable=True)
    by_votes = votes.gather(1, by_mean).argsort(dim=1, stable=True)
    order = by_mean.gather(1, by_votes)
    return torch.empty_like(means).scatter_(1, order, means.sort(dim=1).values)
