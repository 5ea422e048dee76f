"""Global and dense features of timm's ConvNeXt and FastViT inside open_clip's TimmModel.

FastViT (MobileCLIP) has attention in its late stages, which stays as it is: dense features are the
last map of both.

Pure functions over the tower's modules; nothing is patched or changed. `visual` is the image tower,
and `images` are (B, 3, H, W) normalised, any H and W of at least the tower's stride. There is no
padding: the remainder at the bottom and right gets no location. `last_block` is the default, as
no attention ends these towers.

Shape shorthand: B images, C channels of the last stage, D joint embedding.
"""

from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from .geometry import TowerGeometry
from .last_block import LastBlock, require_attention


def check_convnext(visual: TimmModel) -> None:
    """Refuse heads that cannot be applied to a single location.

    Raises:
        ValueError: the tower is not supported.
    """
    pool = visual.trunk.head.global_pool
    if "pool" in dict(visual.head.named_children()) or not pool.pool_type:
        raise ValueError(
            "the image tower pools with attention or not at all, so it has no dense "
            "features; choose a model whose timm_pool is '' or 'avg', such as 'convnext_base_w'."
        )


def convnext_geometry(visual: TimmModel) -> TowerGeometry:
    """Sizes of the tower; the patch size is the stride of the last stage."""
    stride, width = visual.trunk.feature_info[-1]["reduction"], visual.trunk.num_features
    # The last linear layer of the two heads gives the joint embedding.
    layers = [*visual.trunk.head.modules(), *visual.head.modules()]
    sizes = [layer.out_features for layer in layers if isinstance(layer, nn.Linear)]
    height, wide = visual.image_size
    return TowerGeometry(
        patch_size=(stride, stride),
        image_size=(height, wide),
        grid=(height // stride, wide // stride),
        width=width,
        embed_dim=sizes[-1] if sizes else width,
    )


def convnext_global(visual: TimmModel, images: Tensor) -> Tensor:
    """Encode each image as one vector (B, D), not normalised."""
    return visual(images)


def convnext_dense(
    visual: TimmModel, images: Tensor, last_block: LastBlock | None = None
) -> Tensor:
    """Encode each location of each image as a vector of the joint space.

    Each location of the last stage passes the norm and projection of the tower's heads, without
    the pooling. If the norm follows the pooling, as in all of open_clip's models, the mean of
    these vectors is not the image's vector.

    Paper: [pixelclip], whose second tower this is.

    Returns:
        (B, D, h, w) float, raw; h = H / stride for multiples of the stride, mostly 32.

    Raises:
        ValueError: `last_block` is not the default.
    """
    _require_no_attention(visual, last_block or LastBlock())
    return _project(visual, visual.trunk.forward_features(images))


def convnext_stages(
    visual: TimmModel, images: Tensor, last_block: LastBlock
) -> tuple[list[Tensor], Tensor]:
    """Return the maps of all stages and, from the same pass, the dense features.

    Returns:
        Maps (B, C_i, h_i, w_i) float, finest first, and the result of `convnext_dense`, whose
        errors are also those of this function.
    """
    _require_no_attention(visual, last_block)
    last, stages = visual.trunk.forward_intermediates(images)
    return stages, _project(visual, last)


def convnext_stage_shapes(visual: TimmModel) -> list[tuple[int, int]]:
    """Channels and stride of each map of `convnext_stages`."""
    return [(info["num_chs"], info["reduction"]) for info in visual.trunk.feature_info]


def _require_no_attention(visual: TimmModel, last_block: LastBlock) -> None:
    convnext = isinstance(visual.trunk, ConvNeXt)
    reason = "a ConvNeXt has no attention" if convnext else "those of a FastViT stay as they are"
    require_attention(last_block, ("value",), reason)


def _project(visual: TimmModel, stage: Tensor) -> Tensor:
    """Project the last stage (B, C, h, w) to the joint space (B, D, h, w)."""
    locations = stage.permute(0, 2, 3, 1)  # (B, h, w, C)
    # Pooling an image of one location returns that location.
    images = locations.flatten(0, 2)[:, :, None, None]
    feats = visual.head(visual.trunk.forward_head(images))
    return feats.unflatten(0, locations.shape[:3]).permute(0, 3, 1, 2)
