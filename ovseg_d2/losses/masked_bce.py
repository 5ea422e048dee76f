"""Binary cross entropy of masks over the covered pixels."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["masked_bce_loss"]


def masked_bce_loss(mask_logits: Tensor, gt_masks: Tensor, covered: Tensor) -> Tensor:
    """Mean binary cross entropy over the covered pixels, all channels of each.

    Paper: [pixelclip] Sec. 3.2, L_mask; the official code leaves out pixels that no mask covers.

    Args:
        mask_logits: (B, C, H, W) floating; a channel is a cluster or a mask.
        gt_masks: (B, C, H, W), 0 to 1.
        covered: (B, H, W) bool, the pixels that count.

    Returns:
        0-dim float32 mean over this rank's pixels; 0 with zero gradients if no pixel is covered, as
        `DistributedDataParallel` needs.

    Raises:
        ValueError: shapes do not fit.
    """
    if mask_logits.shape != gt_masks.shape or covered.shape != mask_logits[:, 0].shape:
        raise ValueError(
            f"mask_logits {tuple(mask_logits.shape)} and gt_masks {tuple(gt_masks.shape)} must be "
            f"(B, C, H, W), and covered {tuple(covered.shape)} (B, H, W): resize them to one size"
        )
    total = F.binary_cross_entropy_with_logits(
        mask_logits.float(),
        gt_masks.float(),
        weight=covered[:, None].float(),
        reduction="sum",
    )
    return total / (covered.sum() * mask_logits.shape[1]).clamp(min=1)
