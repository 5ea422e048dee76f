"""The transformer encoder of a coarse feature map."""

from typing import Any

from torch import Tensor, nn

from .attention import AttentionBlock, FeedForward, init_conv, init_matrices
from .position_encoding import sine_positions

__all__ = ["TransformerEncoder"]


class TransformerEncoder(nn.Module):
    """Self-attention over the locations of a map.

    Source: [detr] Sec. 3.2 as in the official code of [maskformer], whose larger pixel decoder has
    six such layers on the coarsest map, and whose transformer can have some in front of its
    decoder; [ovseg] has no encoder.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        hidden_dim: int = 2048,
        dropout: float = 0.1,
        norm_first: bool = False,
        project: bool = True,
    ) -> None:
        """Build the layers with random weights.

        Args:
            in_channels: of the map; ``dim`` without ``project``.
            dim: channels of the layers and of the result, a multiple of 4 and of ``num_heads``.
            num_layers: number of layers.
            num_heads: of every attention.
            hidden_dim: of every feed-forward block.
            dropout: of all layers.
            norm_first: a LayerNorm before every block, and one after the last, in place of one
                after every block.
            project: whether a 1x1 convolution maps the map to ``dim`` channels.

        Raises:
            ValueError: ``dim`` is not a multiple of ``num_heads``.
        """
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(
            _EncoderLayer(
                dim,
                num_heads=num_heads,
                hidden_dim=hidden_dim,
                dropout=dropout,
                norm_first=norm_first,
            )
            for _ in range(num_layers)
        )
        init_matrices(self)
        self.norm = nn.LayerNorm(dim) if norm_first else nn.Identity()
        self.project: nn.Module = nn.Identity()
        if project:
            self.project = init_conv(nn.Conv2d(in_channels, dim, 1))

    def forward(self, feats: Tensor) -> Tensor:
        """Encode features (B, in_channels, h, w) -> (B, dim, h, w)."""
        size = feats.shape[-2:]
        positions = sine_positions((size[0], size[1]), self.dim, device=feats.device)
        tokens = self.project(feats).flatten(2).transpose(1, 2)
        token_positions = positions.flatten(1).t().to(tokens)
        for layer in self.layers:
            tokens = layer(tokens, token_positions)
        return self.norm(tokens).transpose(1, 2).unflatten(2, size)


class _EncoderLayer(nn.Module):
    def __init__(
        self, dim: int, *, num_heads: int, hidden_dim: int, dropout: float, norm_first: bool
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"dropout": dropout, "norm_first": norm_first}
        self.self_attention = AttentionBlock(dim, num_heads=num_heads, **common)
        self.feed_forward = FeedForward(dim, hidden_dim=hidden_dim, **common)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        return self.feed_forward(self.self_attention(tokens, positions))
