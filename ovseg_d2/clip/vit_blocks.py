"""Running the blocks of open_clip's VisionTransformer, for all tokens or the class token.

Shape shorthand: B images, N patches, C width of the tower, D joint embedding.
"""

from collections.abc import Iterable

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .memory import need_attention_memory, vit_heads


def run_blocks(visual: VisionTransformer, tokens: Tensor, blocks: Iterable[nn.Module]) -> Tensor:
    """Run tokens (B, N, C) through blocks as the tower's transformer does.

    Raises:
        ImageTooLargeError: without gradients, if memory does not suffice for attention weights.
    """
    transformer = visual.transformer
    need_attention_memory(tokens, vit_heads(visual))
    if not transformer.batch_first:
        tokens = tokens.transpose(0, 1)
    for block in blocks:
        if transformer.grad_checkpointing and torch.is_grad_enabled():
            tokens = checkpoint(block, tokens, use_reentrant=False)
        else:
            tokens = block(tokens)
    return tokens if transformer.batch_first else tokens.transpose(0, 1)


def reads_class_token_alone(visual: VisionTransformer) -> bool:
    """Whether the tower does not use the patches after its last block."""
    return (
        visual.pool_type == "tok"
        and visual.attn_pool is None
        and visual.transformer.batch_first
        and isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock)
    )


def class_token_block(
    block: ResidualAttentionBlock, tokens: Tensor, attention_only: Tensor | None = None
) -> Tensor:
    """Run an ordinary block for the class token only: (B, 1 + N, C) -> (B, 1, C).

    Patches are keys and values only, which saves most of the last block's work, a fifth of the
    work of a tower of four layers.
    """
    normed, class_token = block.ln_1(tokens), tokens[:, :1]
    gathered = block.ls_1(block.attention(normed[:, :1], normed, normed))
    class_token = class_token + gathered
    class_token = class_token + block.ls_2(block.mlp(block.ln_2(class_token)))
    if attention_only is None:
        return class_token
    return torch.where(attention_only[:, None, None], gathered, class_token)


def project(visual: VisionTransformer, feats: Tensor) -> Tensor:
    """Project (..., C) to (..., D); the identity for towers without a projection."""
    return feats if visual.proj is None else feats @ visual.proj
