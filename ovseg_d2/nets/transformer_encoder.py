"""The transformer encoder of a coarse feature map."""

from torch import Tensor, nn

from .attention import AttentionBlock, FeedForward, init_conv, init_matrices
from .position_encoding import sine_positions

__all__ = ["TransformerEncoder"]


class TransformerEncoder(nn.Module):
    """Self-attention over the locations of a map.

    Source: [detr] Sec. 3.2 as in the official code of [maskformer], whose larger pixel decoder has
    six such layers on the coarsest map; [ovseg] has no encoder.
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
    ) -> None:
        """Build the layers with random weights.

        Args:
            in_channels: of the map.
            dim: channels of the layers and of the result, a multiple of 4 and of ``num_heads``.
            num_layers: number of layers.
            num_heads: of every attention.
            hidden_dim: of every feed-forward block.
            dropout: of all layers.

        Raises:
            ValueError: ``dim`` is not a multiple of ``num_heads``.
        """
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(
            _EncoderLayer(dim, num_heads=num_heads, hidden_dim=hidden_dim, dropout=dropout)
            for _ in range(num_layers)
        )
        init_matrices(self)
        self.project = init_conv(nn.Conv2d(in_channels, dim, 1))

    def forward(self, feats: Tensor) -> Tensor:
        """Encode features (B, in_channels, h, w) -> (B, dim, h, w)."""
        size = feats.shape[-2:]
        positions = sine_positions((size[0], size[1]), self.dim, device=feats.device)
        tokens = self.project(feats).flatten(2).transpose(1, 2)
        token_positions = positions.flatten(1).t().to(tokens)
        for layer in self.layers:
            tokens = layer(tokens, token_positions)
        return tokens.transpose(1, 2).unflatten(2, size)


class _EncoderLayer(nn.Module):
    def __init__(self, dim: int, *, num_heads: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = AttentionBlock(dim, num_heads=num_heads, dropout=dropout)
        self.feed_forward = FeedForward(dim, hidden_dim=hidden_dim, dropout=dropout)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        placed = tokens + positions
        return self.feed_forward(self.self_attention(tokens, placed, placed, tokens))
