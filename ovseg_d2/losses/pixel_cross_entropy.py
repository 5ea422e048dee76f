"""Cross entropy of pixels, from logits of any resolution."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["pixel_cross_entropy_loss"]


def pixel_cross_entropy_loss(
    logits: Tensor, labels: Tensor, *, ignore: int = 255, over_all: bool = False
) -> Tensor:
    """Cross entropy of labels and logits, which are resized bilinearly to the labels' size.

    Args:
        logits: (B, K, h, w).
        labels: (B, H, W) int64, classes of 0 to K - 1, or ``ignore``.
        ignore: label of pixels that have no loss.
        over_all: divide by the number of all pixels, as MMSegmentation does, instead of the number
            of pixels with a loss.

    Returns:
        0-dim; 0 with zero gradients if no pixel has a loss.
    """
    logits = F.interpolate(
        logits.float(), size=labels.shape[1:], mode="bilinear", align_corners=False
    )
    total = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="sum")
    if over_all:
        return total / labels.numel()
    return total / (labels != ignore).sum().clamp(min=1)
