"""The pixel decoder: from maps of several strides to mask features on the finest map.

Shape shorthand: B images, C channels, h_i x w_i locations of map i, the finest first.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .attention import init_conv
from .transformer_encoder import TransformerEncoder

__all__ = ["PixelDecoder"]


class PixelDecoder(nn.Module):
    """A feature pyramid that refines the coarsest map by the finer maps in turn.

    Paper: [maskformer] Sec. 3.3, the pixel decoder: at every step the current map is resized to the
    next finer map by nearest neighbours, added to a 1x1 convolution of that map, and convolved. A
    convolution without norm maps the last one to mask features.
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
            channels: C_i of the maps, the finest first.
            conv_channels: channels of all layers, a multiple of ``num_groups``.
            mask_channels: channels of the mask features.
            num_groups: groups of every GroupNorm.
            encoder: encodes the coarsest map into the memory; None takes the map as it is.

        Raises:
            ValueError: no map, or ``conv_channels`` that are not a multiple of ``num_groups``.
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
            _ConvNorm(width, conv_channels, 1, num_groups) for width in self.channels[:-1]
        )
        inputs = [conv_channels] * len(self.laterals) + [self.memory_channels]
        self.convs = nn.ModuleList(_ConvNorm(w, conv_channels, 3, num_groups) for w in inputs)
        self.mask_conv = init_conv(nn.Conv2d(conv_channels, mask_channels, 3, padding=1))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Decode the maps of a batch of images.

        Args:
            maps: (B, C_i, h_i, w_i), the finest first.

        Returns:
            Mask features (B, mask_channels, h_0, w_0), and the memory for the queries: the coarsest
            map, encoded if there is an encoder (B, memory_channels, h_n, w_n).

        Raises:
            ValueError: maps of another number, with other channels or in another order.
        """
        self._check(maps)
        memory = maps[-1] if self.encoder is None else self.encoder(maps[-1])
        feats = F.relu(self.convs[-1](memory))
        finer = zip(maps[:-1], self.laterals, self.convs, strict=False)
        for fine, lateral, conv in reversed(list(finer)):
            coarse = F.interpolate(feats, size=fine.shape[-2:], mode="nearest")
            feats = F.relu(conv(lateral(fine) + coarse))
        return self.mask_conv(feats), memory

    def _check(self, maps: Sequence[Tensor]) -> None:
        shapes = [tuple(feats.shape) for feats in maps]
        areas = [height * width for _, _, height, width in shapes]
        channels = tuple(shape[1] for shape in shapes)
        if channels != self.channels or areas != sorted(areas, reverse=True):
            raise ValueError(
                f"maps are {shapes}; give maps of {self.channels} channels, the finest first"
            )


class _ConvNorm(nn.Module):
    """A convolution without bias, and a GroupNorm."""

    def __init__(self, in_channels: int, channels: int, kernel: int, num_groups: int) -> None:
        super().__init__()
        self.conv = init_conv(
            nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
        )
        self.norm = nn.GroupNorm(num_groups, channels)

    def forward(self, feats: Tensor) -> Tensor:
        return self.norm(self.conv(feats))
