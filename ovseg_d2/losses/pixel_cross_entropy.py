"""Cross-entropy of pixels, whatever the resolution of the logits."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["pixel_cross_entropy_loss"]


def pixel_cross_entropy_loss(
    logits: Tensor, labels: Tensor, *, ignore: int = 255, over_all: bool = False
) -> Tensor:
    """Compare logits, resized bilinearly to the labels' size, with labels.

    Args:
        logits: (B, K, h, w).
        labels: (B, H, W) int64, classes of 0 to K - 1, or ``ignore``.
        ignore: label of pixels that have no loss.
        over_all: divide by the number of all pixels, those without a loss among them, as
            MMSegmentation does; else by the number of those that have one.

    Returns:
        0-dim; 0, with gradients of zeros, where no pixel has a loss.
    """
    logits = F.interpolate(
        logits.float(), size=labels.shape[1:], mode="bilinear", align_corners=False
    )
    total = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="sum")
    if over_all:
        return total / labels.numel()
    return total / (labels != ignore).sum().clamp(min=1)
