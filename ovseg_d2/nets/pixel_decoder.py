"""The pixel decoder: from maps of many strides to features of every location of the finest.

Shape shorthand: B images, C channels, h_i x w_i locations of map i, the finest first.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .transformer_encoder import TransformerEncoder

__all__ = ["PixelDecoder"]


class PixelDecoder(nn.Module):
    """A feature pyramid: the coarsest map, refined by one finer map after the other.

    Paper: [maskformer] Sec. 3.3, the pixel decoder: at each step the map so far is brought to the
    size of the next by nearest neighbours, added to a 1x1 convolution of that one, and convolved.
    A convolution without norm makes the mask features of the finest.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        conv_channels: int = 256,
        mask_channels: int = 256,
        num_groups: int = 32,
        encoder: TransformerEncoder | None = None,
    ) -> None:
        """Build the layers with random weights.

        Args:
            channels: of the maps, the finest first.
            conv_channels: of all layers, a multiple of ``num_groups``.
            mask_channels: of the mask features.
            num_groups: of every GroupNorm.
            encoder: changes the coarsest map before all else; what it gives is the memory.

        Raises:
            ValueError: no map, or groups that do not share the channels evenly.
        """
        super().__init__()
        if not channels:
            raise ValueError("channels are empty; give those of at least one map")
        if num_groups < 1 or conv_channels % num_groups:
            raise ValueError(
                f"conv_channels={conv_channels} are not shared by num_groups={num_groups}; give a "
                "multiple of it"
            )
        self.channels = tuple(channels)
        self.mask_channels = mask_channels
        self.encoder = encoder
        self.memory_channels = self.channels[-1] if encoder is None else encoder.dim
        self.laterals = nn.ModuleList(
            _ConvNorm(each, conv_channels, 1, num_groups) for each in self.channels[:-1]
        )
        inputs = [conv_channels] * len(self.laterals) + [self.memory_channels]
        self.convs = nn.ModuleList(_ConvNorm(each, conv_channels, 3, num_groups) for each in inputs)
        self.mask_conv = nn.Conv2d(conv_channels, mask_channels, 3, padding=1)
        nn.init.kaiming_uniform_(self.mask_conv.weight, a=1)
        nn.init.zeros_(self.mask_conv.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Decode the maps of a batch of images.

        Args:
            maps: (B, C_i, h_i, w_i), the finest first.

        Returns:
            Mask features (B, mask_channels, h_0, w_0), and the memory that queries ask: the
            coarsest map (B, memory_channels, h_n, w_n), encoded where there is an encoder.

        Raises:
            ValueError: maps of another number, with other channels or in another order.
        """
        self._check(maps)
        memory = maps[-1] if self.encoder is None else self.encoder(maps[-1])
        feats = F.relu(self.convs[-1](memory))
        finer = zip(maps[:-1], self.laterals, self.convs, strict=False)
        for each, lateral, conv in reversed(list(finer)):
            coarse = F.interpolate(feats, size=each.shape[-2:], mode="nearest")
            feats = F.relu(conv(lateral(each) + coarse))
        return self.mask_conv(feats), memory

    def _check(self, maps: Sequence[Tensor]) -> None:
        found = tuple(each.shape[1] for each in maps)
        areas = [each.shape[2] * each.shape[3] for each in maps]
        if found != self.channels or areas != sorted(areas, reverse=True):
            raise ValueError(
                f"maps are {[tuple(each.shape) for each in maps]}; give maps of {self.channels} "
                "channels, the finest first"
            )


class _ConvNorm(nn.Module):
    """A convolution without bias, and a GroupNorm."""

    def __init__(self, in_channels: int, channels: int, kernel: int, num_groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(num_groups, channels)
        nn.init.kaiming_uniform_(self.conv.weight, a=1)

    def forward(self, feats: Tensor) -> Tensor:
        return self.norm(self.conv(feats))
