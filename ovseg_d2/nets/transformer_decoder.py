"""The transformer decoder: learnt queries attend to a feature map and become proposals.

Shape shorthand: B images, Q queries, C channels, h x w locations.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .attention import AttentionBlock, FeedForward, init_conv, init_matrices
from .position_encoding import sine_positions
from .transformer_encoder import TransformerEncoder

__all__ = ["TransformerDecoder"]


class TransformerDecoder(nn.Module):
    """Q queries that attend to each other and to the memory in every layer.

    Paper: [maskformer] Sec. 3.3, the transformer module, after [detr] Sec. 3.2. Queries start as
    zeros; a learnt position per query is added to queries and keys in self-attention and to queries
    in cross-attention. Sines of the place are added to the memory as keys. One LayerNorm is shared
    by the outputs of all layers. Padding of images is not masked. The official code can also norm
    first, encode the memory, and project it even where its width is that of the queries; [ovseg]
    does none of these.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        dim: int = 256,
        num_queries: int = 100,
        num_layers: int = 6,
        num_heads: int = 8,
        hidden_dim: int = 2048,
        dropout: float = 0.1,
        encoder_layers: int = 0,
        norm_first: bool = False,
        always_project: bool = False,
    ) -> None:
        """Build the layers with random weights.

        Args:
            in_channels: of the memory, which a 1x1 convolution projects if they differ from
                ``dim``.
            dim: C, a multiple of 4 and of ``num_heads``.
            num_queries: Q.
            num_layers: number of layers.
            num_heads: of every attention.
            hidden_dim: of every feed-forward block.
            dropout: of all layers.
            encoder_layers: of an encoder of the projected memory; 0 builds no layer.
            norm_first: a LayerNorm before every block in place of one after it, and one of the
                memory, with or without an encoder.
            always_project: project the memory even if it has ``dim`` channels.

        Raises:
            ValueError: no query, no layer, or ``dim`` is not a multiple of ``num_heads``.
        """
        super().__init__()
        if num_queries < 1 or num_layers < 1:
            raise ValueError(
                f"num_queries={num_queries} and num_layers={num_layers}; give at least one of each"
            )
        self.dim = dim
        sizes: dict[str, Any] = {
            "num_heads": num_heads,
            "hidden_dim": hidden_dim,
            "dropout": dropout,
            "norm_first": norm_first,
        }
        self.layers = nn.ModuleList(_DecoderLayer(dim, **sizes) for _ in range(num_layers))
        init_matrices(self)
        self.norm = nn.LayerNorm(dim)
        self.query_positions = nn.Embedding(num_queries, dim)
        self.project: nn.Module = nn.Identity()
        if always_project or in_channels != dim:
            self.project = init_conv(nn.Conv2d(in_channels, dim, 1))
        self.encoder: nn.Module = nn.Identity()
        if encoder_layers or norm_first:
            self.encoder = TransformerEncoder(
                dim, dim=dim, num_layers=encoder_layers, project=False, **sizes
            )

    def forward(self, memory: Tensor, *, all_layers: bool = False) -> list[Tensor]:
        """Compute queries from the memory.

        Args:
            memory: (B, in_channels, h, w) features.
            all_layers: return the queries of every layer, for deep supervision.

        Returns:
            Queries (B, Q, C) of the last layer, or of all layers in order.
        """
        positions = sine_positions(
            (memory.shape[2], memory.shape[3]), self.dim, device=memory.device
        )
        memory = self.encoder(self.project(memory))
        values = memory.flatten(2).transpose(1, 2)  # (B, h*w, C)
        keys = values + positions.flatten(1).t().to(values)
        places = self.query_positions.weight.expand(len(values), -1, -1)
        queries = torch.zeros_like(places)
        outputs = []
        for number, layer in enumerate(self.layers, start=1):
            queries = layer(queries, places, keys, values)
            if all_layers or number == len(self.layers):
                outputs.append(self.norm(queries))
        return outputs


class _DecoderLayer(nn.Module):
    def __init__(
        self, dim: int, *, num_heads: int, hidden_dim: int, dropout: float, norm_first: bool
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"dropout": dropout, "norm_first": norm_first}
        self.self_attention = AttentionBlock(dim, num_heads=num_heads, **common)
        self.cross_attention = AttentionBlock(dim, num_heads=num_heads, **common)
        self.feed_forward = FeedForward(dim, hidden_dim=hidden_dim, **common)

    def forward(self, queries: Tensor, places: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        queries = self.self_attention(queries, places)
        queries = self.cross_attention(queries, places, (keys, values))
        return self.feed_forward(queries)
