"""Global and dense features of open_clip's VisionTransformer, at any resolution.

Pure functions over the tower's modules; nothing is patched or changed. `visual` is the image tower,
`images` are (B, 3, H, W) normalised, any H and W; zeros are added at the bottom and right up to
whole patches. `last_block` is MaskCLIP's value path by default.

Shape shorthand: B images, N = h*w patches, C width of the tower, D joint embedding.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from open_clip.transformer import AttentionalPooler, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from .geometry import TowerGeometry
from .last_block import LastBlock
from .mixing import mix_values
from .positions import resample_positions
from .vit_affinity import BeforeLast, mix_by_guide, resize_tokens, self_calibrated
from .vit_blocks import class_token_block, project, reads_class_token_alone, run_blocks


def check_vit(visual: VisionTransformer) -> None:
    """Refuse a tower without a vector for the image, or without one for a location.

    Raises:
        ValueError: the tower does not pool, or pools by attention twice.
    """
    if getattr(visual, "attn_pool_contrastive", None) is not None:
        raise ValueError(
            "the image tower pools with attention twice (attentional_pool is 'parallel' or "
            "'cascade'), which is not supported; choose one with attentional_pool true or false."
        )
    if visual.pool_type not in ("tok", "avg") and visual.attn_pool is None:
        raise ValueError(
            f"the image tower has pool_type={visual.pool_type!r}; choose one with 'tok' or 'avg'."
        )


def vit_geometry(visual: VisionTransformer) -> TowerGeometry:
    """Sizes of the tower; image size and grid are those of its position embeddings."""
    patch_h, patch_w = visual.patch_size
    image_h, image_w = visual.image_size
    grid_h, grid_w = visual.grid_size
    width = visual.conv1.out_channels
    return TowerGeometry(
        patch_size=(patch_h, patch_w),
        image_size=(image_h, image_w),
        grid=(grid_h, grid_w),
        width=width,
        embed_dim=width if visual.proj is None else visual.proj.shape[1],
    )


def vit_tokens(
    visual: VisionTransformer,
    images: Tensor,
    replace: Callable[[Tensor], Tensor] | None = None,
    official_positions: bool = False,
) -> tuple[Tensor, tuple[int, int]]:
    """Embed images as the token sequence that enters the first block.

    ``replace`` maps the patches (B, N, C) to others before class token and positions are added;
    ``official_positions`` are those of `resample_positions`.

    Returns:
        (B, 1 + N, C) tokens, class token first, positions added and `ln_pre` applied, and the
        grid (h, w), N = h*w.
    """
    patch_h, patch_w = visual.patch_size
    images = F.pad(images, (0, -images.shape[-1] % patch_w, 0, -images.shape[-2] % patch_h))
    patches = visual.conv1(images.to(visual.conv1.weight.dtype))
    grid = (patches.shape[-2], patches.shape[-1])
    patches = patches.flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, N, C)
    if replace is not None:
        patches = replace(patches)
    class_token = visual.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    positions = resample_positions(
        visual.positional_embedding, visual.grid_size, grid, official=official_positions
    )
    tokens = torch.cat([class_token, patches], dim=1) + positions.to(patches.dtype)
    return visual.ln_pre(tokens), grid


def vit_global(
    visual: VisionTransformer, images: Tensor, attention_only: Tensor | None = None
) -> Tensor:
    """Encode each image as one vector, as in CLIP's training.

    Images in ``attention_only`` (B,) bool get the output of the last block's attention, without the
    class token's residual and the MLP.

    Returns:
        (B, D) float, projected, not normalised.

    Raises:
        ValueError: ``attention_only`` for a tower that does not pool by its class token.
    """
    tokens, _ = vit_tokens(visual, images)
    # After ln_pre, unlike in open_clip: the same, as LayerNorm works per token.
    tokens = visual.patch_dropout(tokens)
    *blocks, last = visual.transformer.resblocks
    tokens = run_blocks(visual, tokens, blocks)
    if reads_class_token_alone(visual):
        tokens = class_token_block(last, tokens, attention_only)
    elif attention_only is not None:
        raise ValueError(
            "attention_only needs a tower that pools by its class token; leave it None, or choose "
            "such a ViT"
        )
    else:
        tokens = run_blocks(visual, tokens, [last])
    pooled, _ = visual._pool(tokens)
    return project(visual, pooled)


def vit_dense(
    visual: VisionTransformer,
    images: Tensor,
    last_block: LastBlock | None = None,
    official: bool = False,
    guide: Tensor | None = None,
) -> Tensor:
    """Encode each location of each image as a vector of the joint space.

    All blocks but the last run as in CLIP, class token included, without patch dropout. The last
    one is `last_block`; then pooling by attention, if there is any (CoCa), `ln_post` and the
    projection are applied at every location.

    Paper: [maskclip] Sec. 3.2 (value path), [pixelclip] (class token's residual).
    Departs: where patches correlate, the releases keep the class token among the keys and resample
    positions in their own way; ``official`` does both.

    Returns:
        (B, D, h, w) float, raw, h = ceil(H / patch); on the grid of ``guide``, features
        (B, C', h, w) of another network, if the last block compares them.

    Raises:
        ValueError: its last block is of an unknown class and `last_block` is not "full"; or a guide
            is missing, or a block that the tower does not have before its last.
    """
    last_block = last_block or LastBlock()
    official = official and last_block.correlates
    before = _enter_last_block(visual, images, last_block, official)
    return _dense(visual, before, last_block, official, guide)


def vit_dense_and_keys(
    visual: VisionTransformer,
    images: Tensor,
    last_block: LastBlock | None = None,
    official: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the dense features and, from the same pass, the last block's keys.

    Departs: the release of [maskclip] applies the attention's output projection, weights and bias,
    which were trained on values, to keys; here only ``official`` does.

    Returns:
        The result of `vit_dense`, and keys (B, C, h, w) float, heads concatenated, which do not
        depend on `last_block`.

    Raises:
        ValueError: those of `vit_dense`; or the last block is of an unknown class.
    """
    last = _ordinary(visual.transformer.resblocks[-1], "asking for keys", "do without keys")
    last_block = last_block or LastBlock()
    before = _enter_last_block(visual, images, last_block, official and last_block.correlates)
    feats = _dense(visual, before, last_block, official and last_block.correlates)
    attn, normed = last.attn, last.ln_1(before.tokens[:, 1:])
    rows = slice(attn.embed_dim, 2 * attn.embed_dim)  # of the keys, between queries and values
    keys = F.linear(normed, attn.in_proj_weight[rows], attn.in_proj_bias[rows])
    if official:
        keys = attn.out_proj(keys)
    return feats, keys.transpose(1, 2).unflatten(2, before.grid)


def vit_stages(
    visual: VisionTransformer, images: Tensor, last_block: LastBlock
) -> tuple[list[Tensor], Tensor]:
    """Return the map that `vit_dense` projects, and its result, from one pass.

    Errors are those of `vit_dense`.

    Returns:
        A list of one map (B, C, h, w) float, `ln_post` applied, and the features (B, D, h, w).
    """
    before = _enter_last_block(visual, images, last_block)
    patches, grid = _last_patches(visual, before, last_block)
    stage, dense = (
        feats.transpose(1, 2).unflatten(2, grid) for feats in (patches, project(visual, patches))
    )
    return [stage], dense


def vit_stage_shapes(visual: VisionTransformer) -> list[tuple[int, int]]:
    """Channels and stride of the map of `vit_stages`.

    Raises:
        ValueError: patches are not square.
    """
    patch_h, patch_w = visual.patch_size
    if patch_h != patch_w:
        raise ValueError(
            f"this image tower's patches are {patch_h}x{patch_w} pixels, and a feature map has one "
            "stride; choose a tower of square patches."
        )
    return [(visual.ln_post.normalized_shape[0], patch_h)]  # as the pooling may change channels


def _enter_last_block(
    visual: VisionTransformer,
    images: Tensor,
    last_block: LastBlock,
    official_positions: bool = False,
) -> BeforeLast:
    """Run all blocks but the last, and keep the outputs that the last one reads."""
    *blocks, _ = visual.transformer.resblocks
    asked = last_block.blocks_before(len(blocks))
    tokens, grid = vit_tokens(visual, images, official_positions=official_positions)
    outputs = {}
    start = 0
    for stop in sorted(asked | {len(blocks)}):
        tokens = run_blocks(visual, tokens, blocks[start:stop])
        start = stop
        if stop in asked:
            outputs[stop] = tokens
    return BeforeLast(tokens, grid, outputs)


def _dense(
    visual: VisionTransformer,
    before: BeforeLast,
    last_block: LastBlock,
    class_key: bool,
    guide: Tensor | None = None,
) -> Tensor:
    """Features (B, D, h, w) of the tokens before the last block."""
    patches, grid = _last_patches(visual, before, last_block, class_key, guide)
    feats = project(visual, patches)
    return feats.transpose(1, 2).unflatten(2, grid)  # (B, N, D) -> (B, D, h, w)


def _last_patches(
    visual: VisionTransformer,
    before: BeforeLast,
    last_block: LastBlock,
    class_key: bool = False,
    guide: Tensor | None = None,
) -> tuple[Tensor, tuple[int, int]]:
    """Patches (B, N, C) after `ln_post`, and their grid.

    Patches attend to the class token too if ``class_key``.
    """
    last, grid = visual.transformer.resblocks[-1], before.grid
    if last_block.attention == "full":
        patches = run_blocks(visual, before.tokens, [last])[:, 1:]
    else:
        patches, grid = _last_block(last, before, last_block, class_key, guide)
    if visual.attn_pool is not None:
        patches = _pool_alone(visual.attn_pool, patches)
    return visual.ln_post(patches), grid


def _pool_alone(pool: AttentionalPooler, patches: Tensor) -> Tensor:
    """Pool each patch (B, N, C) as an image of one location, by its value alone: (B, N, C')."""
    attn = pool.attn
    size = attn.embed_dim
    weight = attn.v_proj_weight if attn.in_proj_weight is None else attn.in_proj_weight[2 * size :]
    return attn.out_proj(F.linear(pool.ln_k(patches), weight, attn.in_proj_bias[2 * size :]))


def _last_block(
    block: nn.Module,
    before: BeforeLast,
    last_block: LastBlock,
    class_key: bool,
    guide: Tensor | None,
) -> tuple[Tensor, tuple[int, int]]:
    """Apply a `LastBlock` other than "full": patches (B, N, C) and their grid."""
    known = _ordinary(block, f"attention={last_block.attention!r}", "use attention='full'")
    grid = before.grid
    if last_block.attention == "self_calibrated":
        return self_calibrated(known, before, last_block.calibration), grid
    class_token, patches = before.tokens[:, :1], before.tokens[:, 1:]
    class_key = class_key and last_block.attention != "affinity"
    attending = before.tokens if class_key else patches
    mixed = _mix_values(known.attn, known.ln_1(attending), grid, last_block)
    if last_block.attention == "affinity":
        affinity = last_block.affinity
        compared = before.map_of(affinity.block) if affinity.block else guide
        mixed, grid = mix_by_guide(mixed, grid, compared, affinity)
        patches = resize_tokens(patches, before.grid, grid)
    out = known.ls_1(mixed[:, 1:] if class_key else mixed)
    if last_block.residual == "own":
        out = out + patches
    elif last_block.residual == "class_token":
        out = out + class_token
    if last_block.mlp:
        out = out + known.ls_2(known.mlp(known.ln_2(out)))
    return out, grid


def _ordinary(block: nn.Module, what: str, remedy: str) -> ResidualAttentionBlock:
    """Return the block, or refuse blocks of other classes."""
    if not isinstance(block, ResidualAttentionBlock):
        raise ValueError(
            f"{what} needs a last block of open_clip's class ResidualAttentionBlock, not "
            f"{type(block).__name__}; {remedy}."
        )
    return block


def _mix_values(
    attn: nn.MultiheadAttention, tokens: Tensor, grid: tuple[int, int], last_block: LastBlock
) -> Tensor:
    """Mix and project the value vectors of normalised tokens (B, N, C): (B, N, C).

    The tokens are the grid's patches; before them may stand the class token, which has no place.
    """
    width = attn.embed_dim
    if last_block.attention in ("value", "affinity"):
        values = F.linear(tokens, attn.in_proj_weight[2 * width :], attn.in_proj_bias[2 * width :])
        return attn.out_proj(values)
    qkv = F.linear(tokens, attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, .)
    mixed = mix_values(q, k, v, grid, last_block)
    return attn.out_proj(mixed.transpose(1, 2).flatten(2))
