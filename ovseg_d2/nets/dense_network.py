"""A backbone with a head: from pixels to dense features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["DenseNetwork"]


class DenseNetwork(nn.Module):
    """Any backbone with any head, on images of 0 to 255."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        stride: int,
        bgr: bool = False,
    ) -> None:
        """Store both parts and the statistics.

        Args:
            backbone: normalised images (B, 3, H, W) -> input of the head.
            head: output of the backbone -> (B, D, h, w), with h = ceil(H / stride).
            mean: of 3 channels in the backbone's order, in 0 to 255.
            std: standard deviations of these channels.
            stride: of the head's features, in pixels.
            bgr: the backbone takes BGR.

        Raises:
            ValueError: statistics of other than three channels, or a stride below 1.
        """
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
            raise ValueError(f"mean={tuple(mean)}, std={tuple(std)}; give three numbers each")
        if stride < 1:
            raise ValueError(f"stride is {stride}; give pixels, 1 or more")
        self.backbone = backbone
        self.head = head
        self.stride = stride
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB of 0 to 255 (B, 3, H, W) -> (B, D, ceil(H / stride), ceil(W / stride)) raw."""
        pixels = images.flip(1) if self.bgr else images
        pixels = (pixels - self.mean) / self.std
        weight = next(self.backbone.parameters(), pixels)
        return self.head(self.backbone(pixels.to(weight.dtype)))
