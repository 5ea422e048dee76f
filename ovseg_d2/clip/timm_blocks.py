"""The last block of timm's ViTs for dense features.

A block run on sequences of one token is its value path: the softmax over one key is 1, and rotary
positions touch queries and keys only. For the other variants the block's queries, keys and values
are taken from its attention.

Shape shorthand: B images, N = h*w patches, C width of the tower, d width of a head.
"""

from collections.abc import Callable
from typing import Any

import torch
from timm.layers import apply_rot_embed_cat
from timm.layers.attention import Attention, AttentionRope
from timm.models.eva import EvaAttention, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import Block
from torch import Tensor

from .affinity import Affinity
from .last_block import LastBlock
from .mixing import mix_values
from .vit_affinity import mix_by_guide, resize_tokens

__all__ = ["block_keys", "last_patches", "on_single_tokens"]

_BLOCKS = (Block, EvaBlock, EvaBlockPostNorm)
_ATTENTIONS = (Attention, AttentionRope, EvaAttention)
# Sequences of one token at once: their number is an axis that CUDA's attention limits to 65535.
_AT_ONCE = 16384


def on_single_tokens(function: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """Apply a function of sequences (n, 1, C) to each token of (B, N, C): (B, N, ...)."""
    sequences = tokens.flatten(0, 1)[:, None]
    out = torch.cat([function(some).flatten(1) for some in sequences.split(_AT_ONCE)])
    return out.unflatten(0, tokens.shape[:2])


def last_patches(
    block: Any,
    run: Callable[[Tensor], Tensor],
    tokens: Tensor,
    rope: Tensor | None,
    grid: tuple[int, int],
    last_block: LastBlock,
    compared: Tensor | None = None,
) -> tuple[Tensor, tuple[int, int]]:
    """Apply the last block as `LastBlock` says.

    Queries and keys that are compared are those of the block, norms and rotary positions included.

    Args:
        block: of timm.
        run: the unchanged block on whole sequences.
        tokens: (B, P + N, C), those outside of the grid first.
        rope: rotary positions (N, .) of the grid; None for towers without.
        grid: (h, w), N = h*w.
        last_block: the options.
        compared: (B, C', h', w') features for the attention "affinity".

    Returns:
        (B, N, C) patches and their grid, that of ``compared`` for "affinity".

    Raises:
        ValueError: an attention of open_clip's ViTs only; "class_token" without tokens outside of
            the grid; or the block is of a class whose parts are unknown, and the options need them.
    """
    if last_block.attention == "self_calibrated":
        raise ValueError(
            f"attention={last_block.attention!r} needs an image tower of open_clip's class "
            "VisionTransformer; choose another attention, or a ViT such as 'ViT-B-16'"
        )
    outside = tokens.shape[1] - grid[0] * grid[1]
    patches = tokens[:, outside:]
    if last_block.attention == "full":
        return run(tokens)[:, outside:], grid
    if last_block.residual == "class_token" and outside == 0:
        raise ValueError(
            "residual='class_token' needs a class token, and this image tower has none; choose "
            "'own' or 'none'"
        )
    if last_block.attention == "value" and last_block.residual == "own" and last_block.mlp:
        return on_single_tokens(block, patches), grid
    _require_parts(block, last_block)
    normed = patches if isinstance(block, EvaBlockPostNorm) else block.norm1(patches)
    if last_block.attention == "value":
        mixed = on_single_tokens(block.attn, normed)
    elif last_block.attention == "affinity":
        mixed, size = _mix_by_guide(block.attn, normed, grid, last_block.affinity, compared)
        patches, grid = resize_tokens(patches, grid, size), size
    else:
        mixed = _correlate(block.attn, normed, rope, grid, last_block)
    out = _scaled(block, mixed, 1)
    if last_block.residual == "own":
        out = out + patches
    elif last_block.residual == "class_token":
        out = out + tokens[:, :1]
    return _add_mlp(block, out) if last_block.mlp else out, grid


def block_keys(block: Any, tokens: Tensor) -> Tensor:
    """Keys (B, N, C) of the tokens (B, N, C) that enter a block, without rotary positions.

    Raises:
        ValueError: the block is of a class whose parts are unknown.
    """
    if not isinstance(block, _BLOCKS) or not isinstance(block.attn, _ATTENTIONS):
        raise ValueError(
            f"asking for keys needs a last block of a known class of timm, not "
            f"{type(block).__name__}; do without keys"
        )
    normed = tokens if isinstance(block, EvaBlockPostNorm) else block.norm1(tokens)
    return _queries_keys_values(block.attn, normed)[1].transpose(1, 2).flatten(2)


def _require_parts(block: Any, last_block: LastBlock) -> None:
    if isinstance(block, _BLOCKS) and isinstance(block.attn, _ATTENTIONS):
        return
    raise ValueError(
        f"attention={last_block.attention!r} with residual={last_block.residual!r} and "
        f"mlp={last_block.mlp} needs the parts of the last block, and those of timm's "
        f"{type(block).__name__} are unknown; leave them at their defaults or choose "
        "attention='full'"
    )


def _queries_keys_values(attn: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (B, heads, N, d) of normalised tokens (B, N, C)."""
    if attn.qkv is not None:
        qkv = attn.qkv(tokens)
        if getattr(attn, "q_bias", None) is not None:
            qkv = qkv + torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
        q, k, v = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    else:
        q, k, v = (
            projection(tokens).unflatten(2, (-1, attn.head_dim)).transpose(1, 2)
            for projection in (attn.q_proj, attn.k_proj, attn.v_proj)
        )
        # Fewer heads of keys and values than of queries.
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    return attn.q_norm(q), attn.k_norm(k), v


def _correlate(
    attn: Any,
    tokens: Tensor,
    rope: Tensor | None,
    grid: tuple[int, int],
    last_block: LastBlock,
) -> Tensor:
    """Mix the values of normalised patches (B, N, C) by their similarity: (B, N, C)."""
    q, k, v = _queries_keys_values(attn, tokens)
    if rope is not None:
        half = getattr(attn, "rotate_half", False)
        q, k = (apply_rot_embed_cat(x, rope, half=half).to(v.dtype) for x in (q, k))
    mixed = attn.norm(mix_values(q, k, v, grid, last_block).transpose(1, 2).flatten(2))
    if attn.gate is not None:
        mixed = mixed * attn.gate(tokens).sigmoid()
    return attn.proj(mixed)


def _mix_by_guide(
    attn: Any,
    tokens: Tensor,
    grid: tuple[int, int],
    affinity: Affinity,
    compared: Tensor | None,
) -> tuple[Tensor, tuple[int, int]]:
    """Mix the values of normalised patches (B, N, C) by other features, and project them."""
    values = _queries_keys_values(attn, tokens)[2].transpose(1, 2).flatten(2)
    mixed, size = mix_by_guide(values, grid, compared, affinity)
    mixed = attn.norm(mixed)
    if attn.gate is not None:
        mixed = mixed * attn.gate(resize_tokens(tokens, grid, size)).sigmoid()
    return attn.proj(mixed), size


def _scaled(block: Any, branch: Tensor, number: int) -> Tensor:
    """What the block does to its first or second branch before the residual."""
    if isinstance(block, EvaBlockPostNorm):
        return (block.norm1 if number == 1 else block.norm2)(branch)
    if isinstance(block, EvaBlock):
        gamma = block.gamma_1 if number == 1 else block.gamma_2
        return branch if gamma is None else gamma * branch
    return (block.ls1 if number == 1 else block.ls2)(branch)


def _add_mlp(block: Any, tokens: Tensor) -> Tensor:
    normed = tokens if isinstance(block, EvaBlockPostNorm) else block.norm2(tokens)
    return tokens + _scaled(block, block.mlp(normed), 2)
