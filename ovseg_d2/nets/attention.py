"""Residual blocks of transformer layers, with a LayerNorm after the sum or before the block."""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AttentionBlock", "FeedForward"]


class AttentionBlock(nn.Module):
    """LayerNorm(tokens + attention(tokens)), or tokens + attention(LayerNorm(tokens))."""

    def __init__(
        self, dim: int, *, num_heads: int, dropout: float, norm_first: bool = False
    ) -> None:
        """Build the layers with random weights.

        Args:
            dim: channels C, a multiple of ``num_heads``.
            num_heads: number of heads.
            dropout: rate for attention weights and for the residual.
            norm_first: norm what enters the attention, in place of the sum.

        Raises:
            ValueError: ``dim`` is not a multiple of ``num_heads``.
        """
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads={num_heads} do not share dim={dim}; give a divisor of it")
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.norm_first = norm_first

    def forward(
        self, tokens: Tensor, places: Tensor, memory: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Add attention.

        Args:
            tokens: (B, N, C).
            places: (B, N, C), added to queries.
            memory: keys and values (B, M, C); None takes the tokens, with places in the keys.

        Returns:
            (B, N, C).
        """
        normed = self.norm(tokens) if self.norm_first else tokens
        queries = normed + places
        keys, values = (queries, normed) if memory is None else memory
        attended, _ = self.attention(queries, keys, values, need_weights=False)
        tokens = tokens + self.dropout(attended)
        return tokens if self.norm_first else self.norm(tokens)


class FeedForward(nn.Module):
    """LayerNorm(tokens + layers(tokens)), or tokens + layers(LayerNorm(tokens)).

    The layers are two linear ones with a ReLU between them.
    """

    def __init__(
        self, dim: int, *, hidden_dim: int, dropout: float, norm_first: bool = False
    ) -> None:
        """Build the layers with random weights.

        Args:
            dim: channels C.
            hidden_dim: channels between the layers.
            dropout: rate for the hidden channels and for the residual.
            norm_first: norm what enters the layers, in place of the sum.
        """
        super().__init__()
        self.norm_first = norm_first
        self.hidden = nn.Linear(dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, C) -> (B, N, C)."""
        normed = self.norm(tokens) if self.norm_first else tokens
        hidden = self.dropout(F.relu(self.hidden(normed)))
        tokens = tokens + self.dropout(self.out(hidden))
        return tokens if self.norm_first else self.norm(tokens)


def init_conv(conv: nn.Conv2d) -> nn.Conv2d:
    """Initialise weights by Kaiming's uniform distribution and the bias by zeros; returns it."""
    nn.init.kaiming_uniform_(conv.weight, a=1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def init_matrices(module: nn.Module) -> None:
    """Initialise all matrices by Xavier's uniform distribution, as [detr]'s code."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
