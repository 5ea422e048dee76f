"""Text features of open_clip's text towers, from token ids or from token embeddings.

open_clip keeps the modules of the text tower on the model (`CLIP`) or under `model.text`
(`CustomTextCLIP`, `CoCa`); both are supported here. The text tower is open_clip's own, also CoCa's
with its class token after the text, or one of transformers, see `hf_text`.

Shape shorthand: N texts, L tokens, C width of the text tower, D joint embedding.
"""

from typing import TypeAlias

import torch
import torch.nn.functional as F
from open_clip import CLIP, CoCa, CustomTextCLIP
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import TextTransformer, Transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .hf_text import hf_embed_tokens, hf_encode_token_embeds, hf_token_table

_TEXTS_TOGETHER = 128  # large enough to keep an accelerator busy


TextTower: TypeAlias = CLIP | TextTransformer | HFTextEncoder


def text_tower(model: CLIP | CustomTextCLIP | CoCa) -> TextTower:
    """The module of an open_clip model that holds the text tower."""
    return getattr(model, "text", model)


def text_pool_type(tower: CLIP | TextTransformer) -> str:
    """The token that represents the text: "argmax", "eos", "first" or "last"."""
    return tower.pool_type if hasattr(tower, "pool_type") else tower.text_pool_type


def token_table(tower: TextTower) -> Tensor:
    """The embeddings of all tokens, (vocabulary, C)."""
    if isinstance(tower, HFTextEncoder):
        return hf_token_table(tower)
    return tower.token_embedding.weight


def embed_tokens(tower: TextTower, token_ids: Tensor) -> Tensor:
    """Embeddings (N, L, C) of token ids (N, L), without positions."""
    if isinstance(tower, HFTextEncoder):
        return hf_embed_tokens(tower, token_ids)
    return tower.token_embedding(token_ids).to(tower.transformer.get_cast_dtype())


def encode_token_embeds(tower: TextTower, token_embeds: Tensor, token_ids: Tensor) -> Tensor:
    """Encode texts given as token embeddings.

    Under a causal mask no token sees a later one, so tokens after the pooled one are cut off, in
    batches of texts of similar length: the result is the same, and short texts cost less.

    Args:
        tower: the text tower.
        token_embeds: (N, L, C) without positions.
        token_ids: (N, L) long, which mark the end of each text.

    Returns:
        (N, D) float, not normalised.
    """
    if isinstance(tower, HFTextEncoder):
        return hf_encode_token_embeds(tower, token_embeds, token_ids)
    if getattr(tower, "cls_emb", None) is not None:
        return _encode_class_token(tower, token_embeds, token_ids)
    positions = pooled_positions(tower, token_ids)
    if tower.attn_mask is None or len(token_ids) == 0:
        return _encode_pooled(tower, token_embeds, positions)
    order = positions.argsort(stable=True)
    parts = [
        _encode_pooled(tower, token_embeds[rows, : int(positions[rows].max()) + 1], positions[rows])
        for rows in order.split(_TEXTS_TOGETHER)
    ]
    return torch.cat(parts)[order.argsort()]


def _encode_pooled(
    tower: CLIP | TextTransformer, token_embeds: Tensor, positions: Tensor
) -> Tensor:
    """Encode embeddings (N, L, C) with pooled tokens at ``positions`` (N,) as (N, D)."""
    x = run_text_blocks(tower, token_embeds)
    return _project(tower, x[torch.arange(len(x), device=x.device), positions])


def _encode_class_token(tower: TextTransformer, token_embeds: Tensor, token_ids: Tensor) -> Tensor:
    """Encode embeddings (N, L, C) by a class token after them, as CoCa does: (N, D).

    The class token does not see the padding of ``token_ids`` (N, L). In the published weights the
    mask for it stands one token too late (`correct_cls_mask` is off), which is kept.
    """
    seen = F.pad(token_ids != tower.pad_id, (0, 1), value=True)
    if not getattr(tower, "correct_cls_mask", False):
        seen = seen.roll(1, dims=1)
    hidden = torch.zeros_like(seen, dtype=token_embeds.dtype).masked_fill(~seen, -torch.inf)
    length = seen.shape[1]
    mask = hidden[:, None, :].expand(-1, length, -1)
    if tower.attn_mask is not None:
        mask = mask + tower.attn_mask[:length, :length].to(mask)
    mask = mask.repeat_interleave(tower.heads, dim=0)  # (N * heads, L + 1, L + 1)
    class_token = tower.cls_emb.to(token_embeds.dtype).expand(len(token_ids), 1, -1)
    x = torch.cat([token_embeds, class_token], dim=1)
    x = x + tower.positional_embedding[:length].to(x.dtype)
    return _project(tower, _run_blocks(tower.transformer, x, mask)[:, -1])


def _project(tower: CLIP | TextTransformer, x: Tensor) -> Tensor:
    """Normalise and project the pooled tokens (N, C): (N, D)."""
    # LayerNorm works per token: only the pooled tokens are normalised.
    x = tower.ln_final(x)
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def run_text_blocks(tower: CLIP | TextTransformer, token_embeds: Tensor) -> Tensor:
    """Add positions to embeddings (N, L, C) and run all blocks: (N, L, C), before `ln_final`."""
    length = token_embeds.shape[1]
    mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
    x = token_embeds + tower.positional_embedding[:length].to(token_embeds.dtype)
    return _run_blocks(tower.transformer, x, mask)


def pooled_positions(tower: CLIP | TextTransformer, token_ids: Tensor) -> Tensor:
    """Index of the pooled token of each text: (N,) long."""
    pool_type = text_pool_type(tower)
    if pool_type == "argmax":  # CLIP's end token has the highest id
        return token_ids.argmax(dim=-1)
    if pool_type == "eos":
        eos_id = tower.eos_id if hasattr(tower, "eos_id") else tower.text_eos_id
        return (token_ids == eos_id).int().argmax(dim=-1)
    position = 0 if pool_type == "first" else token_ids.shape[1] - 1
    return torch.full_like(token_ids[:, 0], position)


def _run_blocks(transformer: Transformer, x: Tensor, mask: Tensor | None) -> Tensor:
    if not transformer.batch_first:
        x = x.transpose(0, 1)
    for block in transformer.resblocks:
        if transformer.grad_checkpointing and torch.is_grad_enabled():
            x = checkpoint(block, x, attn_mask=mask, use_reentrant=False)
        else:
            x = block(x, attn_mask=mask)
    return x if transformer.batch_first else x.transpose(0, 1)


def check_text_tower(model: CLIP | CustomTextCLIP | CoCa) -> None:
    """Refuse unsupported text towers.

    Raises:
        ValueError: a tower of another class, or one that pools in another way.
    """
    tower = text_tower(model)
    if isinstance(tower, HFTextEncoder):
        return
    if tower is not model and not isinstance(tower, TextTransformer):
        raise ValueError(
            f"the text tower is a {type(tower).__name__}, and only open_clip's TextTransformer and "
            "HFTextEncoder are supported; choose a model with CLIP's text tower."
        )
    if getattr(tower, "use_pad_mask", False) and tower.cls_emb is None:
        raise ValueError(
            "the text tower masks its padding without a class token, which is not supported; "
            "choose a model that pools texts at their end token."
        )
    if text_pool_type(tower) == "none":
        raise ValueError(
            "the text tower has pool_type='none', so a text has no vector; choose another model."
        )
