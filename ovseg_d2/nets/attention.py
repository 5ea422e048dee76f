"""The parts of a transformer's layers: each adds to its input and normalises the sum."""

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["AttentionBlock", "FeedForward"]


class AttentionBlock(nn.Module):
    """Attention, added to its input; then a LayerNorm."""

    def __init__(self, dim: int, *, num_heads: int, dropout: float) -> None:
        """Build the layers with random weights.

        Args:
            dim: channels, a multiple of ``num_heads``.
            num_heads: of the attention.
            dropout: share of attention weights, and of what is added, that is left out in training.

        Raises:
            ValueError: heads that do not share the channels evenly.
        """
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads={num_heads} do not share dim={dim}; give a divisor of it")
        self.attention = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Give tokens (B, N, C) what queries (B, N, C) find among keys and values (B, M, C)."""
        found, _ = self.attention(queries, keys, values, need_weights=False)
        return self.norm(tokens + self.dropout(found))


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, added to their input; then a LayerNorm."""

    def __init__(self, dim: int, *, hidden_dim: int, dropout: float) -> None:
        """Build the layers with random weights.

        Args:
            dim: channels.
            hidden_dim: channels between the layers.
            dropout: share of the hidden channels, and of what is added, that is left out in
                training.
        """
        super().__init__()
        self.hidden = nn.Linear(dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        hidden = self.dropout(F.relu(self.hidden(tokens)))
        return self.norm(tokens + self.dropout(self.out(hidden)))


def init_matrices(module: nn.Module) -> None:
    """Draw all matrices anew, uniformly with the bound of Xavier, as [detr]'s code does."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
