"""PixelCLIP's decoder: from coarse similarity maps to mask logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PixelCLIPDecoder"]

_CHANNELS_A_GROUP = 16


class PixelCLIPDecoder(nn.Module):
    """Upsample similarity maps four times, every map independently as an image of one channel.

    The decoder has no information about clusters, so it learns shapes only.

    Paper: [pixelclip] Sec. 3.2, the decoder D; its layers are the official code's: a convolution,
    then twice a transposed convolution by 2 followed by two convolutions with GroupNorm and ReLU,
    then a convolution to one channel. Inference leaves it out.
    """

    def __init__(
        self, *, channels: tuple[int, int] = (64, 32), stem_channels: int | None = None
    ) -> None:
        """Build the layers with random weights.

        Args:
            channels: at twice and at four times the resolution, multiples of 16.
            stem_channels: of the first convolution; None takes the first of ``channels``.

        Raises:
            ValueError: other than two multiples of 16, or a stem without channels.
        """
        super().__init__()
        if len(channels) != 2 or any(c < 1 or c % _CHANNELS_A_GROUP for c in channels):
            raise ValueError(f"channels are {channels}; give two multiples of {_CHANNELS_A_GROUP}")
        first, second = channels
        stem = first if stem_channels is None else stem_channels
        if stem < 1:
            raise ValueError(f"stem_channels is {stem_channels}; give at least 1")
        self.stem = nn.Conv2d(1, stem, 3, padding=1)
        self.up1 = nn.ConvTranspose2d(stem, first, 2, stride=2)
        self.convs1 = _two_convs(first)
        self.up2 = nn.ConvTranspose2d(first, second, 2, stride=2)
        self.convs2 = _two_convs(second)
        self.head = nn.Conv2d(second, 1, 3, padding=1)

    def forward(self, maps: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Decode similarity maps.

        Args:
            maps: (..., h, w) similarities, any number of leading axes.
            size: (H, W) of the result, resized bilinearly; None means (4h, 4w).

        Returns:
            (..., H, W) logits.
        """
        x = self.stem(maps.reshape(-1, 1, *maps.shape[-2:]))
        if x.device.type == "cpu":  # 1.7 times as fast as channels first
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.convs1(self.up1(x))
        x = self.convs2(self.up2(x))
        logits = self.head(x)
        if size is not None:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits.view(*maps.shape[:-2], *logits.shape[-2:])


def _two_convs(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(channels // _CHANNELS_A_GROUP, channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
