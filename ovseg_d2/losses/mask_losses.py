"""Focal and dice loss of masks: of pairs that belong together, and of all pairs there could be.

Shape shorthand: M pairs, Q predicted masks, N true ones, P pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dice_loss", "focal_loss", "pairwise_dice_loss", "pairwise_focal_loss"]

_ALPHA, _GAMMA = 0.25, 2.0


def focal_loss(
    mask_logits: Tensor,
    gt_masks: Tensor,
    counted: Tensor | None = None,
    *,
    alpha: float = _ALPHA,
    gamma: float = _GAMMA,
) -> Tensor:
    """Focal loss of each mask: cross entropy that forgets what is right already.

    Source: the official code of [maskformer], which takes the mean over a mask's pixels.

    Args:
        mask_logits: (M, P) floating.
        gt_masks: (M, P) bool, or 0 to 1.
        counted: (M, P) bool, the pixels that the mean is over; None: all.
        alpha: weight of pixels inside; those outside have ``1 - alpha``.
        gamma: power of the probability of being wrong, which each pixel is weighed with.

    Returns:
        (M,) float32; 0 where no pixel counts.

    Raises:
        ValueError: if shapes do not fit.
    """
    from torchvision.ops import sigmoid_focal_loss  # torchvision loads where it is used

    _check(mask_logits, gt_masks, mask_logits.shape == gt_masks.shape)
    losses = sigmoid_focal_loss(mask_logits.float(), gt_masks.float(), alpha=alpha, gamma=gamma)
    if counted is None:
        return losses.mean(dim=1)
    return (losses * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def dice_loss(mask_logits: Tensor, gt_masks: Tensor, counted: Tensor | None = None) -> Tensor:
    """Dice loss of each mask: 1 - (2 |p g| + 1) / (|p| + |g| + 1), with sums for ``|.|``.

    Source: the official code of [maskformer]. The ones keep two empty masks at 0.

    Args:
        mask_logits: (M, P) floating.
        gt_masks: (M, P) bool, or 0 to 1.
        counted: (M, P) bool, the pixels that are summed over; None: all.

    Returns:
        (M,) float32 in [0, 1).

    Raises:
        ValueError: if shapes do not fit.
    """
    _check(mask_logits, gt_masks, mask_logits.shape == gt_masks.shape)
    probs, truth = mask_logits.float().sigmoid(), gt_masks.float()
    if counted is not None:
        probs, truth = probs * counted, truth * counted
    overlaps = (probs * truth).sum(dim=1)
    return 1 - (2 * overlaps + 1) / (probs.sum(dim=1) + truth.sum(dim=1) + 1)


def pairwise_focal_loss(
    mask_logits: Tensor,
    gt_masks: Tensor,
    counted: Tensor | None = None,
    *,
    alpha: float = _ALPHA,
    gamma: float = _GAMMA,
) -> Tensor:
    """`focal_loss` of every predicted with every true mask, by products of matrices.

    Args:
        mask_logits: (Q, P) floating.
        gt_masks: (N, P) bool, or 0 to 1.
        counted: (P,) bool, the pixels that count, the same for all pairs; None: all.
        alpha: as for `focal_loss`.
        gamma: likewise.

    Returns:
        (Q, N) float32.

    Raises:
        ValueError: if the numbers of pixels differ.
    """
    _check(mask_logits, gt_masks, mask_logits.shape[1:] == gt_masks.shape[1:])
    logits, truth = mask_logits.float(), gt_masks.float()
    probs = logits.sigmoid()
    inside = alpha * (1 - probs) ** gamma * F.softplus(-logits)
    outside = (1 - alpha) * probs**gamma * F.softplus(logits)
    weights = logits.new_ones(logits.shape[1]) if counted is None else counted.to(logits)
    totals = torch.einsum("qp,np->qn", inside, truth * weights)
    totals += torch.einsum("qp,np->qn", outside, (1 - truth) * weights)
    return totals / weights.sum().clamp(min=1)


def pairwise_dice_loss(
    mask_logits: Tensor, gt_masks: Tensor, counted: Tensor | None = None
) -> Tensor:
    """`dice_loss` of every predicted with every true mask, by a product of matrices.

    Args:
        mask_logits: (Q, P) floating.
        gt_masks: (N, P) bool, or 0 to 1.
        counted: as for `pairwise_focal_loss`.

    Returns:
        (Q, N) float32 in [0, 1).

    Raises:
        ValueError: if the numbers of pixels differ.
    """
    _check(mask_logits, gt_masks, mask_logits.shape[1:] == gt_masks.shape[1:])
    probs, truth = mask_logits.float().sigmoid(), gt_masks.float()
    if counted is not None:
        probs, truth = probs * counted, truth * counted
    overlaps = torch.einsum("qp,np->qn", probs, truth)
    areas = probs.sum(dim=1)[:, None] + truth.sum(dim=1)[None]
    return 1 - (2 * overlaps + 1) / (areas + 1)


def _check(mask_logits: Tensor, gt_masks: Tensor, fits: bool) -> None:
    if mask_logits.dim() != 2 or gt_masks.dim() != 2 or not fits or mask_logits.shape[1] == 0:
        raise ValueError(
            f"mask_logits {tuple(mask_logits.shape)} and gt_masks {tuple(gt_masks.shape)} must be "
            "masks of the same pixels: resize them to one size and flatten each to a row"
        )
