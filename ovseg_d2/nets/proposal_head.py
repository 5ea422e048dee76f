"""MaskFormer's head: Q proposals from feature maps, each a mask and an embedding.

Shape shorthand: B images, Q queries, D channels of a proposal's embedding, h x w locations.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .pixel_decoder import PixelDecoder
from .transformer_decoder import TransformerDecoder
from .transformer_encoder import TransformerEncoder

__all__ = ["ProposalHead", "Proposals", "proposal_head_parts"]


@dataclass(frozen=True, eq=False)
class Proposals:
    """The proposals of one layer.

    Attributes:
        query_feats: (B, Q, D) raw, to be compared with text embeddings.
        mask_logits: (B, Q, h, w), on the grid of the finest feature map.
    """

    query_feats: Tensor
    mask_logits: Tensor


class ProposalHead(nn.Module):
    """Pixel decoder, transformer decoder, and two small networks on its queries.

    Paper: [maskformer] Sec. 3.3: a mask is the product of a query's mask embedding with the mask
    features of all locations; [ovseg] Sec. 3.1: a D-dimensional embedding per proposal in place of
    class scores.
    """

    def __init__(
        self,
        *,
        pixel_decoder: PixelDecoder,
        transformer_decoder: TransformerDecoder,
        query_network: nn.Module,
    ) -> None:
        """Store the parts and build the mask network.

        Args:
            pixel_decoder: computes mask features and memory.
            transformer_decoder: computes queries from the memory.
            query_network: queries (B, Q, C) -> ``query_feats`` (B, Q, D).
        """
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.transformer_decoder = transformer_decoder
        self.query_network = query_network
        dim = transformer_decoder.dim
        self.mask_network = _mlp(dim, dim, dim, pixel_decoder.mask_channels)

    def forward(self, maps: Sequence[Tensor], *, all_layers: bool = False) -> list[Proposals]:
        """Compute proposals.

        Args:
            maps: (B, C_i, h_i, w_i), the finest first.
            all_layers: return the proposals of every layer, for deep supervision.

        Returns:
            Proposals of the last layer, or of all layers in order.

        Raises:
            ValueError: maps that do not fit the pixel decoder.
        """
        mask_feats, memory = self.pixel_decoder(maps)
        return [
            Proposals(
                query_feats=self.query_network(queries),
                mask_logits=torch.einsum("bqc,bchw->bqhw", self.mask_network(queries), mask_feats),
            )
            for queries in self.transformer_decoder(memory, all_layers=all_layers)
        ]


def proposal_head_parts(
    channels: Sequence[int],
    embed_dim: int,
    *,
    conv_channels: int = 256,
    mask_channels: int = 256,
    dim: int = 256,
    num_queries: int = 100,
    num_layers: int = 6,
    encoder_layers: int = 0,
    num_heads: int = 8,
    hidden_dim: int = 2048,
    query_hidden_dim: int = 1024,
    dropout: float = 0.1,
    memory_layers: int = 0,
    norm_first: bool = False,
    always_project: bool = False,
) -> dict[str, nn.Module]:
    """Build the parts of [ovseg]'s `ProposalHead`, randomly initialized, with its default sizes.

    Args:
        channels: of the backbone's maps, the finest first.
        embed_dim: D of the CLIP that embeds the texts.
        conv_channels: of the pixel decoder, a multiple of 32.
        mask_channels: of the mask features.
        dim: of the transformer decoder, a multiple of 4 and of ``num_heads``.
        num_queries: Q.
        num_layers: of the transformer decoder.
        encoder_layers: of a transformer encoder of ``conv_channels`` on the coarsest map; 0 builds
            no encoder.
        num_heads: of every attention.
        hidden_dim: of every feed-forward block.
        query_hidden_dim: of the network that computes proposal embeddings.
        dropout: of the transformers.
        memory_layers: of a transformer encoder of ``dim`` between pixel decoder and transformer
            decoder; 0 builds none.
        norm_first: whether all transformers norm before their blocks, not after them.
        always_project: whether the memory passes a 1x1 convolution even if it has ``dim`` channels.

    Returns:
        The arguments of `ProposalHead` by name, on the CPU.

    Raises:
        ValueError: sizes that do not fit each other.
    """
    encoder = None
    if encoder_layers:
        encoder = TransformerEncoder(
            channels[-1],
            dim=conv_channels,
            num_layers=encoder_layers,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            dropout=dropout,
            norm_first=norm_first,
        )
    pixel_decoder = PixelDecoder(
        channels, conv_channels=conv_channels, mask_channels=mask_channels, encoder=encoder
    )
    transformer_decoder = TransformerDecoder(
        pixel_decoder.memory_channels,
        dim=dim,
        num_queries=num_queries,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=hidden_dim,
        dropout=dropout,
        encoder_layers=memory_layers,
        norm_first=norm_first,
        always_project=always_project,
    )
    return {
        "pixel_decoder": pixel_decoder,
        "transformer_decoder": transformer_decoder,
        "query_network": _mlp(dim, query_hidden_dim, embed_dim),
    }


def _mlp(*widths: int) -> nn.Sequential:
    """Build linear layers from width to width, with a ReLU between two layers."""
    layers: list[nn.Module] = []
    for width, next_width in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Linear(width, next_width), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
