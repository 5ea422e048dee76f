"""Global and dense features of timm's ViTs inside open_clip's TimmModel, at any resolution.

The trunks are timm's `VisionTransformer`, also with convolutions for its patches (SigLIP, SigLIP2,
MobileCLIP-B, ViTamin), and `Eva` (EVA01, EVA02, PE-Core), whose positions may be rotary. Pure
functions over the tower's modules; nothing is patched or changed. `visual` is the image tower,
`images` are (B, 3, H, W) normalised, any H and W; zeros are added at the bottom and right up to
whole patches. `last_block` is MaskCLIP's value path by default.

A head that pools by attention is applied to each location as to an image of one location: the
pooling's value path, its norm and its MLP.

Shape shorthand: B images, P tokens outside of the grid, N = h*w patches, C width of the tower,
D joint embedding.
"""

import copy
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from open_clip.timm_model import TimmModel
from timm.layers import (
    AttentionPoolLatent,
    HybridEmbed,
    PatchEmbed,
    RotaryEmbeddingCat,
    apply_keep_indices_nlc,
)
from timm.models.eva import Eva
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .geometry import TowerGeometry
from .last_block import LastBlock
from .memory import attention_bytes, convolution_bytes, need_attention_memory
from .positions import resample_positions
from .timm_blocks import block_keys, last_patches, on_single_tokens


class _Tokens(NamedTuple):
    """Tokens on their way through the blocks.

    Attributes:
        values: (B, P + N, C).
        rope: rotary positions of the patches, for each block if they are mixed; None without.
        grid: (h, w).
        compared: (B, C, h, w), the output of the block that "affinity" compares; None without.
    """

    values: Tensor
    rope: Tensor | None
    grid: tuple[int, int]
    compared: Tensor | None = None


def check_timm_vit(visual: TimmModel) -> None:
    """Refuse patch embeddings and heads that cannot be applied to other sizes or locations.

    Raises:
        ValueError: the tower is not supported.
    """
    trunk: Any = visual.trunk
    if not isinstance(trunk.patch_embed, PatchEmbed | HybridEmbed):
        raise ValueError(
            f"the image tower embeds its patches by a {type(trunk.patch_embed).__name__}, which is "
            "not supported; choose a ViT such as 'ViT-B-16'"
        )
    pool = trunk.attn_pool
    if pool is not None and (
        not isinstance(pool, AttentionPoolLatent) or pool.pos_embed is not None
    ):
        raise ValueError(
            f"the image tower pools by a {type(pool).__name__} whose output depends on other "
            "locations or on positions, so it has no dense features; choose a ViT such as "
            "'ViT-B-16-SigLIP2'"
        )
    if pool is None and not trunk.global_pool:
        raise ValueError(
            "the image tower does not pool, so an image has no vector; choose a model whose "
            "timm_pool is 'token', 'avg' or 'map'"
        )


def timm_vit_geometry(visual: TimmModel) -> TowerGeometry:
    """Sizes of the tower; image size and grid are those of its patch embedding."""
    trunk: Any = visual.trunk
    embed = trunk.patch_embed
    patch_h, patch_w = embed.feat_ratio(as_scalar=False)
    image_h, image_w = embed.img_size
    grid_h, grid_w = embed.grid_size
    layers = [*trunk.head.modules(), *visual.head.modules()]
    sizes = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
    return TowerGeometry(
        patch_size=(patch_h, patch_w),
        image_size=(image_h, image_w),
        grid=(grid_h, grid_w),
        width=trunk.embed_dim,
        embed_dim=sizes[-1] if sizes else trunk.num_features,
    )


def timm_vit_global(visual: TimmModel, images: Tensor) -> Tensor:
    """Encode each image as one vector (B, D), as in the tower's training, not normalised."""
    trunk: Any = visual.trunk
    # The training drops a remainder that is smaller than a patch.
    native = images.shape[-2:] == tuple(trunk.patch_embed.img_size)
    tokens = _drop_patches(visual, _enter(visual, images, pad=not native))
    values = _run(visual, tokens, range(len(trunk.blocks)))
    return visual.head(trunk.forward_head(trunk.norm(values)))


def timm_vit_dense(
    visual: TimmModel,
    images: Tensor,
    last_block: LastBlock | None = None,
    guide: Tensor | None = None,
) -> Tensor:
    """Encode each location of each image as a vector of the joint space.

    All blocks but the last run as in the tower's training, without patch dropout. The last one is
    `last_block`; then norm, pooling and projection are applied at every location.

    Returns:
        (B, D, h, w) float, raw, h = ceil(H / patch); on the grid of ``guide``, features
        (B, C', h, w) of another network, if the last block compares them.

    Raises:
        ValueError: those of `last_patches`; or a block that the tower does not have.
    """
    last_block = last_block or LastBlock()
    tokens = _enter_last_block(visual, images, last_block)
    patches, grid = _last_patches(visual, tokens, last_block, guide)
    return _on_grid(_head(visual, visual.trunk.norm(patches)), grid)


def timm_vit_dense_and_keys(
    visual: TimmModel, images: Tensor, last_block: LastBlock | None = None
) -> tuple[Tensor, Tensor]:
    """Return the dense features and, from the same pass, the last block's keys.

    Returns:
        The result of `timm_vit_dense`, and keys (B, C, h, w) float, heads concatenated, without
        rotary positions.

    Raises:
        ValueError: those of `timm_vit_dense`, and of `block_keys`.
    """
    last_block = last_block or LastBlock()
    tokens = _enter_last_block(visual, images, last_block)
    patches, _ = _last_patches(visual, tokens, last_block)
    dense = _on_grid(_head(visual, visual.trunk.norm(patches)), tokens.grid)
    number = tokens.grid[0] * tokens.grid[1]
    keys = block_keys(visual.trunk.blocks[-1], tokens.values[:, -number:])
    return dense, _on_grid(keys, tokens.grid)


def timm_vit_stages(
    visual: TimmModel, images: Tensor, last_block: LastBlock
) -> tuple[list[Tensor], Tensor]:
    """Return the map that `timm_vit_dense` projects, and its result, from one pass.

    Errors are those of `timm_vit_dense`.

    Returns:
        A list of one map (B, C, h, w) float, after the trunk's norm, and the features (B, D, h, w).
    """
    tokens = _enter_last_block(visual, images, last_block)
    patches = visual.trunk.norm(_last_patches(visual, tokens, last_block)[0])
    return [_on_grid(patches, tokens.grid)], _on_grid(_head(visual, patches), tokens.grid)


def timm_vit_stage_shapes(visual: TimmModel) -> list[tuple[int, int]]:
    """Channels and stride of the map of `timm_vit_stages`.

    Raises:
        ValueError: patches are not square.
    """
    geometry = timm_vit_geometry(visual)
    patch_h, patch_w = geometry.patch_size
    if patch_h != patch_w:
        raise ValueError(
            f"this image tower's patches are {patch_h}x{patch_w} pixels, and a feature map has one "
            "stride; choose a tower of square patches"
        )
    return [(geometry.width, patch_h)]


def timm_vit_bytes(visual: TimmModel, size: tuple[int, int]) -> int:
    """Estimated bytes of the dense features of an image of (H, W) pixels, see `memory`."""
    trunk: Any = visual.trunk
    patch_h, patch_w = trunk.patch_embed.feat_ratio(as_scalar=False)
    count = trunk.num_prefix_tokens + -(-size[0] // patch_h) * -(-size[1] // patch_w)
    needed = attention_bytes(_heads(trunk), count)
    if isinstance(trunk.patch_embed, HybridEmbed):
        convolutions = (m for m in trunk.patch_embed.modules() if isinstance(m, nn.Conv2d))
        first = next(convolutions)
        needed = max(needed, convolution_bytes((first.out_channels, first.stride[0]), size))
    return needed


def _heads(trunk: Any) -> int:
    """Heads of the attention; 1 for blocks of unknown classes."""
    return int(getattr(getattr(trunk.blocks[0], "attn", None), "num_heads", 1))


def _enter(visual: TimmModel, images: Tensor, *, pad: bool = True) -> _Tokens:
    """Embed images as the tokens that enter the first block."""
    trunk: Any = visual.trunk
    embed = trunk.patch_embed
    if pad:
        patch_h, patch_w = embed.feat_ratio(as_scalar=False)
        images = F.pad(images, (0, -images.shape[-1] % patch_w, 0, -images.shape[-2] % patch_h))
    if isinstance(embed, HybridEmbed):
        maps = embed.backbone(images)
        maps = embed.proj(maps[-1] if isinstance(maps, list | tuple) else maps)
    else:
        maps = embed.proj(images)
    grid = (maps.shape[-2], maps.shape[-1])
    values = getattr(embed, "norm", nn.Identity())(maps.flatten(2).transpose(1, 2))
    outside = [token for token in (trunk.cls_token, trunk.reg_token) if token is not None]
    outside = [token.expand(len(values), -1, -1).to(values.dtype) for token in outside]
    with_positions = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
    positions: Tensor | int = 0
    if trunk.pos_embed is not None:
        native = (embed.grid_size[0], embed.grid_size[1])
        positions = resample_positions(trunk.pos_embed[0], native, grid, with_positions)
    if with_positions:
        values = torch.cat([*outside, values], dim=1) + positions
    else:
        values = torch.cat([*outside, values + positions], dim=1)
    return _Tokens(trunk.norm_pre(trunk.pos_drop(values)), _rotary_positions(trunk, grid), grid)


def _rotary_positions(trunk: Any, grid: tuple[int, int]) -> Tensor | None:
    """Rotary positions of a grid; None for trunks without."""
    rope = getattr(trunk, "rope", None)
    if rope is None:
        return None
    if isinstance(rope, RotaryEmbeddingCat) and tuple(rope.feat_shape or grid) != grid:
        # It knows one grid, which is changed in place: in a copy, a small table.
        rope = copy.deepcopy(rope)
        rope.update_feat_shape(list(grid))
    return rope.get_embed(shape=list(grid))


def _drop_patches(visual: TimmModel, tokens: _Tokens) -> _Tokens:
    """Drop patches, and their rotary positions, in training if the tower says so."""
    drop = visual.trunk.patch_drop
    if drop is None or isinstance(drop, nn.Identity):
        return tokens
    if not isinstance(visual.trunk, Eva):
        return tokens._replace(values=drop(tokens.values))
    values, kept = drop(tokens.values)
    if tokens.rope is None or kept is None:
        return tokens._replace(values=values)
    rope = apply_keep_indices_nlc(values, tokens.rope, kept)
    mixed = getattr(visual.trunk, "rope_mixed", False)
    # As in timm: an axis for the heads, or the blocks first.
    return tokens._replace(values=values, rope=rope.transpose(0, 1) if mixed else rope[:, None])


def _run(visual: TimmModel, tokens: _Tokens, numbers: range) -> Tensor:
    """Run all tokens through some of the blocks, by their numbers.

    Raises:
        ImageTooLargeError: without gradients, if memory does not suffice for attention weights.
    """
    trunk: Any = visual.trunk
    values = tokens.values
    need_attention_memory(values, _heads(trunk))
    for number in numbers:
        rope = _rope_of(visual, tokens.rope, number)
        options: dict[str, Any] = {} if rope is None else {"rope": rope}
        if trunk.grad_checkpointing and torch.is_grad_enabled():
            values = checkpoint(trunk.blocks[number], values, use_reentrant=False, **options)
        else:
            values = trunk.blocks[number](values, **options)
    return values


def _rope_of(visual: TimmModel, rope: Tensor | None, number: int) -> Tensor | None:
    """Rotary positions of a block."""
    mixed = rope is not None and getattr(visual.trunk, "rope_mixed", False)
    return rope[number] if mixed and rope is not None else rope


def _enter_last_block(visual: TimmModel, images: Tensor, last_block: LastBlock) -> _Tokens:
    """Run all blocks but the last, and keep the output that "affinity" compares."""
    tokens = _enter(visual, images)
    count = len(visual.trunk.blocks) - 1
    block = 0
    if last_block.attention == "affinity" and last_block.affinity.block:
        (block,) = last_block.blocks_before(count)
    values = _run(visual, tokens, range(block))
    compared = _on_grid(values[:, -tokens.grid[0] * tokens.grid[1] :], tokens.grid)
    values = _run(visual, tokens._replace(values=values), range(block, count))
    return tokens._replace(values=values, compared=compared if block else None)


def _last_patches(
    visual: TimmModel, tokens: _Tokens, last_block: LastBlock, guide: Tensor | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """Patches (B, N, C) after the last block, without the norm that follows, and their grid."""
    number = len(visual.trunk.blocks) - 1
    return last_patches(
        visual.trunk.blocks[number],
        lambda values: _run(visual, tokens._replace(values=values), range(number, number + 1)),
        tokens.values,
        _rope_of(visual, tokens.rope, number),
        tokens.grid,
        last_block,
        guide if tokens.compared is None else tokens.compared,
    )


def _head(visual: TimmModel, patches: Tensor) -> Tensor:
    """Pool and project each normalised patch (B, N, C) alone: (B, N, D)."""
    trunk: Any = visual.trunk
    if trunk.attn_pool is not None:
        patches = on_single_tokens(trunk.attn_pool, patches)
    return visual.head(trunk.head(trunk.head_drop(trunk.fc_norm(patches))))


def _on_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, N, C) -> (B, C, h, w)."""
    return values.transpose(1, 2).unflatten(2, grid)
