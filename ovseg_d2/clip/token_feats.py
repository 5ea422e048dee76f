"""Features of a tower per token, for images and texts.

Shape shorthand: B images, N texts, L tokens, C width of the image or text tower.
"""

import torch
from open_clip import CLIP
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from .text import pooled_positions, run_text_blocks, text_pool_type, text_tower
from .text import token_table as table_of
from .tower import CLIPTower
from .vit import vit_tokens
from .vit_blocks import run_blocks


def encode_image_tokens(
    visual: nn.Module, images: Tensor, kept_ids: Tensor | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """Encode images, or some of their patches, as class token and patch tokens.

    Args:
        visual: the image half of a tower, a ViT.
        images: (B, 3, H, W) normalised.
        kept_ids: (B, n) long, indices in reading order of the patches that the tower sees; None
            keeps all.

    Returns:
        (B, 1 + n, C), class token first, after the last block and its norm, not projected; and the
        grid (h, w) of the whole images.

    Raises:
        ValueError: the image half is not a ViT.
    """
    vit = _require_vit(visual)
    tokens, grid = vit_tokens(vit, images)
    if kept_ids is not None:
        places = kept_ids[..., None].expand(-1, -1, tokens.shape[-1])
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:].gather(1, places)], dim=1)
    return vit.ln_post(run_blocks(vit, tokens, vit.transformer.resblocks)), grid


def image_heads(tower: CLIPTower) -> int:
    """Number of heads of the image half's last attention.

    Raises:
        ValueError: the image half is not a ViT.
    """
    return _require_vit(tower.model.visual).transformer.resblocks[-1].attn.num_heads


def text_heads(tower: CLIPTower) -> int:
    """Number of heads of the text half's last attention.

    Raises:
        ValueError: the text half is one of transformers.
    """
    return _require_open_clip(tower).transformer.resblocks[-1].attn.num_heads


def token_table(tower: CLIPTower) -> Tensor:
    """The embeddings of all tokens, (vocabulary, C)."""
    return table_of(text_tower(tower.model))


def word_tokens(tower: CLIPTower, token_ids: Tensor) -> Tensor:
    """Mask (N, L) bool of the tokens between a text's start and end.

    Raises:
        ValueError: the tower pools at the first or last token, so the end of a text is unknown; or
            the text half is one of transformers.
    """
    of_text = _require_open_clip(tower)
    if text_pool_type(of_text) not in ("argmax", "eos"):
        raise ValueError(
            f"the text tower pools by {text_pool_type(of_text)!r}, so the end of its texts is "
            "unknown; choose one that pools at the end token, as CLIP's"
        )
    places = torch.arange(token_ids.shape[1], device=token_ids.device)
    ends = pooled_positions(of_text, token_ids)
    return (places > 0) & (places < ends[:, None])


def encode_text_tokens(tower: CLIPTower, token_embeds: Tensor) -> Tensor:
    """Encode each token of texts.

    Args:
        tower: the CLIP.
        token_embeds: (N, L, C) from `CLIPTower.embed_tokens`, without positions.

    Returns:
        (N, L, C), after the last block and its norm. Under a causal mask, as CLIP's, a token
        depends on itself and those before it.

    Raises:
        ValueError: the text half is one of transformers.
    """
    of_text = _require_open_clip(tower)
    return of_text.ln_final(run_text_blocks(of_text, token_embeds))


def _require_open_clip(tower: CLIPTower) -> CLIP | TextTransformer:
    of_text = text_tower(tower.model)
    if isinstance(of_text, HFTextEncoder):
        raise ValueError(
            "the text tower is one of transformers, whose single tokens are not read; choose a "
            "model with CLIP's text tower such as 'ViT-B-16'"
        )
    return of_text


def _require_vit(visual: nn.Module) -> VisionTransformer:
    if not isinstance(visual, VisionTransformer):
        raise ValueError(
            f"the image tower is a {type(visual).__name__}, which has no patch tokens; "
            "choose a ViT such as 'ViT-B-16'"
        )
    return visual
