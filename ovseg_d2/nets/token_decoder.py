"""Small transformers that predict hidden patches or words from the tokens of an encoder."""

import torch
from torch import Tensor, nn

__all__ = ["PatchDecoder", "TokenDecoder"]

_POSITION_STD = 0.02


class TokenDecoder(nn.Module):
    """Self-attention over a sequence, with learnt positions.

    Paper: [masked_distill_clip]: one such layer for patches, four for words.
    Departs: the published facts do not define the layers; these normalise first and have a hidden
    size of 4 C, as the blocks of CLIP's towers.
    """

    def __init__(self, dim: int, num_tokens: int, *, num_layers: int, num_heads: int) -> None:
        """Build the layers with random weights.

        Args:
            dim: C of the tokens, a multiple of ``num_heads``.
            num_tokens: most tokens of a sequence.
            num_layers: number of layers, at least 1.
            num_heads: of every attention.

        Raises:
            ValueError: no layer, or ``dim`` is not a multiple of ``num_heads``.
        """
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers}; give at least 1")
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads={num_heads} do not share dim={dim}; give a divisor of it")
        self.positional_embedding = nn.Parameter(_POSITION_STD * torch.randn(num_tokens, dim))
        layer = nn.TransformerEncoderLayer(
            dim,
            num_heads,
            dim_feedforward=4 * dim,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(
            layer, num_layers, norm=nn.LayerNorm(dim), enable_nested_tensor=False
        )

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Decode sequences.

        Args:
            tokens: (B, N, C), N at most ``num_tokens``.
            padding: (B, N) bool, tokens that are not attended to; None attends to all.

        Returns:
            (B, N, C).

        Raises:
            ValueError: more tokens than positions.
        """
        num_positions = len(self.positional_embedding)
        if tokens.shape[1] > num_positions:
            raise ValueError(
                f"sequences of {tokens.shape[1]} tokens for a decoder of {num_positions} "
                "positions; build it with more positions"
            )
        placed = tokens + self.positional_embedding[: tokens.shape[1]].to(tokens.dtype)
        return self.layers(placed, src_key_padding_mask=padding)


class PatchDecoder(nn.Module):
    """Predict all patches of an image from those that are not hidden.

    Paper: [masked_distill_clip], the image decoder; a learnt vector stands for hidden patches, as
    in [mae] Sec. 3, and the class token is part of the sequence.
    """

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        out_dim: int | None = None,
        num_layers: int = 1,
        num_heads: int = 8,
    ) -> None:
        """Build the layers with random weights.

        Args:
            dim: C of the encoder's tokens.
            grid: (h, w) patches of an image.
            out_dim: width of a prediction; None means C.
            num_layers: number of layers, at least 1.
            num_heads: of every attention.

        Raises:
            ValueError: as `TokenDecoder`.
        """
        super().__init__()
        self.grid = (int(grid[0]), int(grid[1]))
        self.embed = nn.Linear(dim, dim)
        self.hidden_token = nn.Parameter(_POSITION_STD * torch.randn(dim))
        num_tokens = 1 + self.grid[0] * self.grid[1]
        self.decoder = TokenDecoder(dim, num_tokens, num_layers=num_layers, num_heads=num_heads)
        self.head = nn.Linear(dim, dim if out_dim is None else out_dim)

    def forward(self, tokens: Tensor, kept_ids: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predict all patches.

        Args:
            tokens: (B, 1 + n, C), the class token and the n patches that are not hidden.
            kept_ids: (B, n) int64, places of these patches in the grid.
            grid: (h, w) patches of the whole image.

        Returns:
            (B, h*w, ``out_dim``), predictions of all patches in reading order.

        Raises:
            ValueError: another grid than the decoder's.
        """
        if tuple(grid) != self.grid:
            raise ValueError(
                f"images of {grid[0]}x{grid[1]} patches for a decoder of {self.grid[0]}x"
                f"{self.grid[1]}; give training images of the decoder's size, or build it for "
                "theirs"
            )
        tokens = self.embed(tokens)
        batch, _, dim = tokens.shape
        num_patches = self.grid[0] * self.grid[1]
        places = kept_ids[..., None].expand(-1, -1, dim)
        hidden = self.hidden_token.to(tokens.dtype).expand(batch, num_patches, dim)
        patches = hidden.scatter(1, places, tokens[:, 1:])
        return self.head(self.decoder(torch.cat([tokens[:, :1], patches], dim=1))[:, 1:])
