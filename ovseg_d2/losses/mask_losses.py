"""Focal and dice loss of masks: of matched pairs, and of all possible pairs.

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
    """Focal loss of each mask: cross entropy with less weight on pixels that are right.

    Source: the official code of [maskformer], the mean over a mask's pixels.

    Args:
        mask_logits: (M, P) floating.
        gt_masks: (M, P) bool, or 0 to 1.
        counted: (M, P) bool, the pixels of the mean; None: all.
        alpha: weight of pixels inside; those outside have ``1 - alpha``.
        gamma: a pixel's weight is the probability of the wrong answer to this power.

    Returns:
        (M,) float32; 0 for masks without a counted pixel.

    Raises:
        ValueError: shapes do not fit.
    """
    from torchvision.ops import sigmoid_focal_loss  # torchvision loads where it is used

    _check(mask_logits, gt_masks, mask_logits.shape == gt_masks.shape)
    losses = sigmoid_focal_loss(mask_logits.float(), gt_masks.float(), alpha=alpha, gamma=gamma)
    if counted is None:
        return losses.mean(dim=1)
    return (losses * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def dice_loss(mask_logits: Tensor, gt_masks: Tensor, counted: Tensor | None = None) -> Tensor:
    """Dice loss of each mask: 1 - (2 |p g| + 1) / (|p| + |g| + 1), with sums for ``|.|``.

    Source: the official code of [maskformer]. With the ones, two empty masks have a loss of 0.

    Args:
        mask_logits: (M, P) floating.
        gt_masks: (M, P) bool, or 0 to 1.
        counted: (M, P) bool, the pixels of the sums; None: all.

    Returns:
        (M,) float32 in [0, 1).

    Raises:
        ValueError: shapes do not fit.
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
    """`focal_loss` of all pairs of predicted and true masks, by matrix products.

    Args:
        mask_logits: (Q, P) floating.
        gt_masks: (N, P) bool, or 0 to 1.
        counted: (P,) bool, the pixels of the mean, the same for all pairs; None: all.
        alpha: see `focal_loss`.
        gamma: see `focal_loss`.

    Returns:
        (Q, N) float32.

    Raises:
        ValueError: the numbers of pixels differ.
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
    """`dice_loss` of all pairs of predicted and true masks, by a matrix product.

    Arguments and errors are those of `pairwise_focal_loss`.

    Returns:
        (Q, N) float32 in [0, 1).
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
