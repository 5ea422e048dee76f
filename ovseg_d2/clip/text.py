"""Text features of open_clip's text towers, from token ids or from token embeddings.

open_clip keeps the modules of the text tower on the model (`CLIP`) or under `model.text`
(`CustomTextCLIP`); both are supported here.

Shape shorthand: N texts, L tokens, C width of the text tower, D joint embedding.
"""

import torch
from open_clip import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer, Transformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_TEXTS_TOGETHER = 128  # large enough to keep an accelerator busy


def text_tower(model: CLIP | CustomTextCLIP) -> CLIP | TextTransformer:
    """The module of an open_clip model that holds the text tower."""
    return getattr(model, "text", model)


def text_pool_type(tower: CLIP | TextTransformer) -> str:
    """The token that represents the text: "argmax", "eos", "first" or "last"."""
    return tower.pool_type if hasattr(tower, "pool_type") else tower.text_pool_type


def embed_tokens(tower: CLIP | TextTransformer, token_ids: Tensor) -> Tensor:
    """Embeddings (N, L, C) of token ids (N, L), without positions."""
    return tower.token_embedding(token_ids).to(tower.transformer.get_cast_dtype())


def encode_token_embeds(
    tower: CLIP | TextTransformer, token_embeds: Tensor, token_ids: Tensor
) -> Tensor:
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
    x = x[torch.arange(len(x), device=x.device), positions]
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


def check_text_tower(model: CLIP | CustomTextCLIP) -> None:
    """Refuse unsupported text towers.

    Raises:
        ValueError: a tower of another class, or one that pools in another way.
    """
    tower = text_tower(model)
    if tower is not model and not isinstance(tower, TextTransformer):
        raise ValueError(
            f"the text tower is a {type(tower).__name__}, and only open_clip's TextTransformer is "
            "supported; choose a model with CLIP's text tower."
        )
    if getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False):
        raise ValueError(
            "the text tower appends a class token or masks its padding (CoCa), which is not "
            "supported; choose a model that pools texts at their end token."
        )
    if text_pool_type(tower) == "none":
        raise ValueError(
            "the text tower has pool_type='none', so a text has no vector; choose another model."
        )
