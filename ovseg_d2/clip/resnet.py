"""Global and dense features of open_clip's ModifiedResNet, at any resolution.

The last step of CLIP's ResNets is an attention pooling: the mean of all locations asks, and gets a
weighted mean of their values. As values are projected linearly,

    embedding = c_proj(sum_i a_i v_proj(x_i)) = sum_i a_i c_proj(v_proj(x_i)),   sum_i a_i = 1,

each c_proj(v_proj(x_i)) is a vector of the joint space on its own: the dense feature of [maskclip].

Pure functions over the tower's own modules; nothing is patched, and the tower's state is only read.

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
    """Sizes of the tower; a patch is what one location of the last stage strides over."""
    return TowerGeometry(
        patch_size=(_STRIDE, _STRIDE),
        image_size=(visual.image_size, visual.image_size),
        grid=_native_grid(visual),
        width=visual.attnpool.c_proj.in_features,
        embed_dim=visual.attnpool.c_proj.out_features,
    )


def resnet_global(visual: ModifiedResNet, images: Tensor) -> Tensor:
    """Encode each image as one vector, as CLIP was trained to.

    Args:
        visual: the image tower.
        images: (B, 3, H, W) normalised; any H and W from 32 pixels. Nothing is padded.

    Returns:
        (B, D) float, projected, not normalised.
    """
    stage = _last_stage(visual, images)
    pool = visual.attnpool
    tokens = _mean_and_locations(stage)
    grid = (stage.shape[-2], stage.shape[-1])
    positions = resample_positions(pool.positional_embedding, _native_grid(visual), grid)
    tokens = tokens + positions.to(tokens.dtype)
    # Only the mean's answer is read, so only the mean asks.
    return _attend(pool, tokens[:, :1], tokens)[:, 0]


def resnet_dense(
    visual: ModifiedResNet, images: Tensor, last_block: LastBlock | None = None
) -> Tensor:
    """Encode each location of each image as a vector of the joint space.

    With attention "value", c_proj(v_proj(x)) at every location of the last stage; with "full",
    every location asks all of them and their mean, which is the baseline of [maskclip]. Both leave
    the positions out, as the release of [maskclip] does.

    Paper: [maskclip] Sec. 3.2.

    Args:
        visual: the image tower.
        images: (B, 3, H, W) normalised; any H and W from 32 pixels. Nothing is padded: what is
            left over at the bottom and right has no location of its own.
        last_block: "value" or "full"; there is no residual and no MLP to choose.

    Returns:
        (B, D, h, w) float, raw; h = H / 32 where that is whole.

    Raises:
        ValueError: `last_block` asks for what only a transformer has.
    """
    last_block = last_block or LastBlock()
    _require_pooling(last_block)
    return _project(visual.attnpool, _last_stage(visual, images), last_block)


def resnet_dense_and_keys(
    visual: ModifiedResNet, images: Tensor, last_block: LastBlock | None = None
) -> tuple[Tensor, Tensor]:
    """Give the dense features and, from the same pass, the attention pooling's key per location.

    Departs: the release of [maskclip] has no keys with full attention; they are the same there.

    Args:
        visual: the image tower.
        images: as for `resnet_dense`.
        last_block: as for `resnet_dense`; plays no part in the keys.

    Returns:
        What `resnet_dense` gives, and keys (B, C, h, w) float, k_proj(x), without positions.

    Raises:
        ValueError: as `resnet_dense`.
    """
    last_block = last_block or LastBlock()
    _require_pooling(last_block)
    stage = _last_stage(visual, images)
    keys = visual.attnpool.k_proj(stage.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return _project(visual.attnpool, stage, last_block), keys


def resnet_stages(
    visual: ModifiedResNet, images: Tensor, last_block: LastBlock
) -> tuple[list[Tensor], Tensor]:
    """Give the maps of all four stages and, from the same pass, the dense features.

    Args:
        visual: the image tower.
        images: as for `resnet_dense`.
        last_block: as for `resnet_dense`.

    Returns:
        Maps (B, C_i, h_i, w_i) float, finest first, and what `resnet_dense` gives.

    Raises:
        ValueError: as `resnet_dense`.
    """
    _require_pooling(last_block)
    stages = list(_stages(visual, images))
    return stages, _project(visual.attnpool, stages[-1], last_block)


def resnet_stage_shapes(visual: ModifiedResNet) -> list[tuple[int, int]]:
    """Channels and stride of each map of `resnet_stages`."""
    layers = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
    channels = [layer[-1].conv3.out_channels for layer in layers]
    return [(each, _STRIDE >> (3 - stage)) for stage, each in enumerate(channels)]


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
    """From the last stage (B, C, h, w) to the joint space (B, D, h, w)."""
    if last_block.attention == "value":
        feats = pool.c_proj(pool.v_proj(stage.permute(0, 2, 3, 1)))
        return feats.permute(0, 3, 1, 2)
    tokens = _mean_and_locations(stage)
    feats = _attend(pool, tokens[:, 1:], tokens)
    return feats.transpose(1, 2).unflatten(2, stage.shape[-2:])


def _attend(pool: AttentionPool2d, asking: Tensor, tokens: Tensor) -> Tensor:
    """Pool's attention: asking (B, M, C) and tokens (B, N, C) give (B, M, D)."""
    q, k, v = (
        layer(x).unflatten(2, (pool.num_heads, -1)).transpose(1, 2)  # (B, heads, ., C / heads)
        for layer, x in ((pool.q_proj, asking), (pool.k_proj, tokens), (pool.v_proj, tokens))
    )
    mixed = F.scaled_dot_product_attention(q, k, v)
    return pool.c_proj(mixed.transpose(1, 2).flatten(2))
