"""Residual blocks of transformer layers, with a LayerNorm after the sum."""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AttentionBlock", "FeedForward"]


class AttentionBlock(nn.Module):
    """LayerNorm(tokens + attention)."""

    def __init__(self, dim: int, *, num_heads: int, dropout: float) -> None:
        """Build the layers with random weights.

        Args:
            dim: channels C, a multiple of ``num_heads``.
            num_heads: number of heads.
            dropout: rate for attention weights and for the residual.

        Raises:
            ValueError: ``dim`` is not a multiple of ``num_heads``.
        """
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads={num_heads} do not share dim={dim}; give a divisor of it")
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Add attention: tokens and queries (B, N, C), keys and values (B, M, C) -> (B, N, C)."""
        attended, _ = self.attention(queries, keys, values, need_weights=False)
        return self.norm(tokens + self.dropout(attended))


class FeedForward(nn.Module):
    """LayerNorm(tokens + two linear layers with a ReLU between them)."""

    def __init__(self, dim: int, *, hidden_dim: int, dropout: float) -> None:
        """Build the layers with random weights.

        Args:
            dim: channels C.
            hidden_dim: channels between the layers.
            dropout: rate for the hidden channels and for the residual.
        """
        super().__init__()
        self.hidden = nn.Linear(dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, N, C) -> (B, N, C)."""
        hidden = self.dropout(F.relu(self.hidden(tokens)))
        return self.norm(tokens + self.dropout(self.out(hidden)))


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
