"""Global and dense features of open_clip's ModifiedResNet, at any resolution.

CLIP's ResNets end in attention pooling: the query is the mean of all locations, the result a
weighted mean of their values. As values are projected linearly,

    embedding = c_proj(sum_i a_i v_proj(x_i)) = sum_i a_i c_proj(v_proj(x_i)),   sum_i a_i = 1,

each c_proj(v_proj(x_i)) is a vector of the joint space: the dense feature of [maskclip].

Pure functions over the tower's modules; nothing is patched or changed. `visual` is the image tower,
and `images` are (B, 3, H, W) normalised, H and W at least 32. There is no padding: the remainder at
the bottom and right gets no location. `last_block` has attention "value" or "full", and no residual
or MLP.

Shape shorthand: B images, N = h*w locations, C channels of the last stage, D joint embedding.
"""

from collections import deque
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor

from .geometry import TowerGeometry
from .last_block import LastBlock, require_attention
from .positions import resample_positions

# Fixed by open_clip's class: stem 4, stages 1, 2, 2, 2.
_STRIDE = 32


def resnet_geometry(visual: ModifiedResNet) -> TowerGeometry:
    """Sizes of the tower; the patch size is the stride of the last stage."""
    return TowerGeometry(
        patch_size=(_STRIDE, _STRIDE),
        image_size=(visual.image_size, visual.image_size),
        grid=_native_grid(visual),
        width=visual.attnpool.c_proj.in_features,
        embed_dim=visual.attnpool.c_proj.out_features,
    )


def resnet_global(visual: ModifiedResNet, images: Tensor) -> Tensor:
    """Encode each image as one vector (B, D), as in CLIP's training: projected, not normalised."""
    stage = _last_stage(visual, images)
    pool = visual.attnpool
    tokens = _mean_and_locations(stage)
    grid = (stage.shape[-2], stage.shape[-1])
    positions = resample_positions(pool.positional_embedding, _native_grid(visual), grid)
    tokens = tokens + positions.to(tokens.dtype)
    # Only the mean is a query: the results at locations are not used.
    return _attend(pool, tokens[:, :1], tokens)[:, 0]


def resnet_dense(
    visual: ModifiedResNet, images: Tensor, last_block: LastBlock | None = None
) -> Tensor:
    """Encode each location of each image as a vector of the joint space.

    Attention "value" gives c_proj(v_proj(x)) at every location of the last stage; with "full" every
    location attends to all locations and their mean, the baseline of [maskclip]. Both leave the
    positions out, as the release of [maskclip] does.

    Paper: [maskclip] Sec. 3.2.

    Returns:
        (B, D, h, w) float, raw; h = H / 32 for multiples of 32.

    Raises:
        ValueError: `last_block` has options that only a ViT has.
    """
    last_block = last_block or LastBlock()
    _require_pooling(last_block)
    return _project(visual.attnpool, _last_stage(visual, images), last_block)


def resnet_dense_and_keys(
    visual: ModifiedResNet, images: Tensor, last_block: LastBlock | None = None
) -> tuple[Tensor, Tensor]:
    """Return the dense features and, from the same pass, the attention pooling's keys.

    Departs: the release of [maskclip] has no keys with full attention, which `MaskCLIP` follows on
    demand; here they do not depend on `last_block`. Errors are those of `resnet_dense`.

    Returns:
        The result of `resnet_dense`, and keys (B, C, h, w) float, k_proj(x) without positions.
    """
    last_block = last_block or LastBlock()
    _require_pooling(last_block)
    stage = _last_stage(visual, images)
    keys = visual.attnpool.k_proj(stage.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return _project(visual.attnpool, stage, last_block), keys


def resnet_stages(
    visual: ModifiedResNet, images: Tensor, last_block: LastBlock
) -> tuple[list[Tensor], Tensor]:
    """Return the maps of all four stages and, from the same pass, the dense features.

    Returns:
        Maps (B, C_i, h_i, w_i) float, finest first, and the result of `resnet_dense`, whose errors
        are also those of this function.
    """
    _require_pooling(last_block)
    stages = list(_stages(visual, images))
    return stages, _project(visual.attnpool, stages[-1], last_block)


def resnet_stage_shapes(visual: ModifiedResNet) -> list[tuple[int, int]]:
    """Channels and stride of each map of `resnet_stages`."""
    layers = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
    channels = [layer[-1].conv3.out_channels for layer in layers]
    return [(count, _STRIDE >> (3 - stage)) for stage, count in enumerate(channels)]


def _require_pooling(last_block: LastBlock) -> None:
    require_attention(last_block, ("value", "full"), "a ResNet ends in attention pooling")


def _native_grid(visual: ModifiedResNet) -> tuple[int, int]:
    return visual.image_size // _STRIDE, visual.image_size // _STRIDE


def _last_stage(visual: ModifiedResNet, images: Tensor) -> Tensor:
    """Run all convolutions: (B, 3, H, W) -> (B, C, h, w)."""
    return deque(_stages(visual, images), maxlen=1).pop()


def _stages(visual: ModifiedResNet, images: Tensor) -> Iterator[Tensor]:
    """Run all convolutions, stage by stage: (B, 3, H, W) -> four maps (B, C_i, h_i, w_i)."""
    x = visual.stem(images)
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = stage(x)
        yield x


def _mean_and_locations(stage: Tensor) -> Tensor:
    """Tokens (B, 1 + N, C) of attention pooling, the mean of the locations first."""
    locations = stage.flatten(2).transpose(1, 2)  # (B, C, h, w) -> (B, N, C)
    return torch.cat([locations.mean(dim=1, keepdim=True), locations], dim=1)


def _project(pool: AttentionPool2d, stage: Tensor, last_block: LastBlock) -> Tensor:
    """Project the last stage (B, C, h, w) to the joint space (B, D, h, w)."""
    if last_block.attention == "value":
        feats = pool.c_proj(pool.v_proj(stage.permute(0, 2, 3, 1)))
        return feats.permute(0, 3, 1, 2)
    tokens = _mean_and_locations(stage)
    feats = _attend(pool, tokens[:, 1:], tokens)
    return feats.transpose(1, 2).unflatten(2, stage.shape[-2:])


def _attend(pool: AttentionPool2d, queries: Tensor, tokens: Tensor) -> Tensor:
    """Attention of the pooling: queries (B, M, C) and tokens (B, N, C) -> (B, M, D)."""
    q, k, v = (
        layer(x).unflatten(2, (pool.num_heads, -1)).transpose(1, 2)  # (B, heads, ., C / heads)
        for layer, x in ((pool.q_proj, queries), (pool.k_proj, tokens), (pool.v_proj, tokens))
    )
    mixed = F.scaled_dot_product_attention(q, k, v)
    return pool.c_proj(mixed.transpose(1, 2).flatten(2))
