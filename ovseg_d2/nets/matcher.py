"""The Hungarian matching of proposals to objects."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..losses import Match, pairwise_dice_loss, pairwise_focal_loss

__all__ = ["HungarianMatcher"]


@dataclass(frozen=True)
class HungarianMatcher:
    """Assign proposals to objects one to one, by their classes and masks.

    Paper: [maskformer] Sec. 3.2, the bipartite matching of [detr] with masks in place of boxes: the
    cost of a pair is focal and dice loss of the mask minus the probability of the object's class.

    Attributes:
        class_weight: of the probability.
        mask_weight: of the focal loss.
        dice_weight: of the dice loss.
    """

    class_weight: float = 1.0
    mask_weight: float = 20.0
    dice_weight: float = 1.0

    def __post_init__(self) -> None:
        """Check the weights.

        Raises:
            ValueError: a negative weight, or none that is positive.
        """
        weights = (self.class_weight, self.mask_weight, self.dice_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                f"class_weight, mask_weight and dice_weight are {', '.join(map(str, weights))}; "
                "give numbers of at least 0, one of them positive"
            )

    @torch.no_grad()
    def __call__(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        gt_ids: Sequence[Tensor],
        gt_masks: Sequence[Tensor],
        ignored: Sequence[Tensor] | None = None,
    ) -> list[Match]:
        """Match a batch; waits for the device once.

        Args:
            class_logits: (B, Q, K+1), the last column being "no object".
            mask_logits: (B, Q, h, w).
            gt_ids: for each image (N,) int64, classes 0..K-1.
            gt_masks: for each image (N, H, W) bool, resized to (h, w) by nearest neighbours.
            ignored: for each image (H, W) bool, pixels that do not count in mask costs; None: no
                pixel is ignored.

        Returns:
            For each image the M matched proposals, ascending, and their objects: both (M,) int64 on
            the logits' device, where M is the smaller of Q and N.

        Raises:
            FloatingPointError: a cost that is not finite.
        """
        from scipy.optimize import linear_sum_assignment  # scipy loads where it is used

        all_ignored = [None] * len(gt_masks) if ignored is None else ignored
        costs = [
            self.costs(*image)
            for image in zip(class_logits, mask_logits, gt_ids, gt_masks, all_ignored, strict=True)
        ]
        counts = [cost.shape[1] for cost in costs]
        joined = torch.cat(costs, dim=1).cpu()
        if not joined.isfinite().all():
            raise FloatingPointError(
                "class or mask logits are not finite and cannot be matched: training has "
                "diverged; lower SOLVER.BASE_LR, or bound gradients with SOLVER.MAX_GRAD_NORM"
            )
        matches = []
        for cost in joined.split(counts, dim=1):
            pairs = linear_sum_assignment(cost.numpy())
            queries, objects = (torch.as_tensor(ids, device=class_logits.device) for ids in pairs)
            matches.append((queries, objects))
        return matches

    def costs(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        gt_ids: Tensor,
        gt_masks: Tensor,
        ignored: Tensor | None = None,
    ) -> Tensor:
        """Return the cost of every pair of one image.

        Args:
            class_logits: (Q, K+1).
            mask_logits: (Q, h, w).
            gt_ids: (N,).
            gt_masks: (N, H, W).
            ignored: (H, W) or None; see the call.

        Returns:
            (Q, N).
        """
        probs = class_logits.float().softmax(dim=1)
        size = mask_logits.shape[1:]
        logits, truth = mask_logits.flatten(1), _nearest(gt_masks.to(mask_logits.device), size)
        counted = None
        if ignored is not None:
            counted = _nearest(ignored[None].to(mask_logits.device), size)[0] == 0
        return (
            self.mask_weight * pairwise_focal_loss(logits, truth, counted)
            - self.class_weight * probs[:, gt_ids.to(probs.device)]
            + self.dice_weight * pairwise_dice_loss(logits, truth, counted)
        )


def _nearest(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Resize and flatten (N, H, W) bool -> (N, h*w) of 0 and 1."""
    return F.interpolate(masks.float()[:, None], size, mode="nearest").flatten(1)
