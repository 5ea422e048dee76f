"""Table of the kinds of image towers; other modules do not distinguish them.

To add a kind, write its functions in a new module and enter them here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn

from .convnext import (
    check_convnext,
    convnext_dense,
    convnext_geometry,
    convnext_global,
    convnext_stage_shapes,
    convnext_stages,
)
from .geometry import TowerGeometry
from .last_block import LastBlock
from .memory import convolution_bytes, vit_bytes
from .resnet import (
    resnet_dense,
    resnet_dense_and_keys,
    resnet_geometry,
    resnet_global,
    resnet_stage_shapes,
    resnet_stages,
)
from .timm_vit import (
    check_timm_vit,
    timm_vit_bytes,
    timm_vit_dense,
    timm_vit_dense_and_keys,
    timm_vit_geometry,
    timm_vit_global,
    timm_vit_stage_shapes,
    timm_vit_stages,
)
from .vit import (
    check_vit,
    vit_dense,
    vit_dense_and_keys,
    vit_geometry,
    vit_global,
    vit_stage_shapes,
    vit_stages,
)


@dataclass(frozen=True)
class ImageTowerKind:
    """Functions of `CLIPTower` for one kind of image tower, which is their first argument.

    Attributes:
        geometry: sizes of the tower.
        encode: images -> (B, D).
        dense: images, last block, whether the release is followed, guide -> (B, D, h, w).
        dense_and_keys: the same without guide -> (B, D, h, w) and (B, C, h, w); None without keys.
        stages: images, last block -> the stages' maps (B, C_i, h_i, w_i), finest first, and the
            result of `dense`.
        stage_shapes: channels and stride of each map.
        encode_attention: images, and (B,) bool of those encoded by the last attention only ->
            (B, D); None without a class token.
        dense_bytes: (H, W) of an image -> estimated bytes of its dense features.
        pads: whether these functions add zeros up to whole patches.
        check: raises ValueError for unsupported towers of this class; None if there are none.
    """

    geometry: Callable[[Any], TowerGeometry]
    encode: Callable[[Any, Tensor], Tensor]
    dense: Callable[[Any, Tensor, LastBlock, bool, Tensor | None], Tensor]
    dense_and_keys: Callable[[Any, Tensor, LastBlock, bool], tuple[Tensor, Tensor]] | None
    stages: Callable[[Any, Tensor, LastBlock], tuple[list[Tensor], Tensor]]
    stage_shapes: Callable[[Any], list[tuple[int, int]]]
    dense_bytes: Callable[[Any, tuple[int, int]], int]
    pads: bool
    encode_attention: Callable[[Any, Tensor, Tensor], Tensor] | None = None
    check: Callable[[Any], None] | None = None


_KINDS: dict[type[nn.Module], ImageTowerKind] = {
    VisionTransformer: ImageTowerKind(
        geometry=vit_geometry,
        encode=vit_global,
        dense=vit_dense,
        dense_and_keys=vit_dense_and_keys,
        stages=vit_stages,
        stage_shapes=vit_stage_shapes,
        dense_bytes=vit_bytes,
        pads=True,
        encode_attention=vit_global,
        check=check_vit,
    ),
    ModifiedResNet: ImageTowerKind(
        geometry=resnet_geometry,
        encode=resnet_global,
        # Only images are padded or not: see `CLIPTower.dense_feats`.
        dense=lambda visual, images, last_block, *_: resnet_dense(visual, images, last_block),
        dense_and_keys=lambda visual, images, last_block, _: resnet_dense_and_keys(
            visual, images, last_block
        ),
        stages=resnet_stages,
        stage_shapes=resnet_stage_shapes,
        dense_bytes=lambda visual, size: convolution_bytes(resnet_stage_shapes(visual)[0], size),
        pads=False,
    ),
}

_CONVNEXT = ImageTowerKind(
    geometry=convnext_geometry,
    encode=convnext_global,
    dense=lambda visual, images, last_block, *_: convnext_dense(visual, images, last_block),
    dense_and_keys=None,
    stages=convnext_stages,
    stage_shapes=convnext_stage_shapes,
    dense_bytes=lambda visual, size: convolution_bytes(convnext_stage_shapes(visual)[0], size),
    pads=False,
    check=check_convnext,
)
_TIMM_VIT = ImageTowerKind(
    geometry=timm_vit_geometry,
    encode=timm_vit_global,
    dense=lambda visual, images, last_block, _, guide: timm_vit_dense(
        visual, images, last_block, guide
    ),
    dense_and_keys=lambda visual, images, last_block, _: timm_vit_dense_and_keys(
        visual, images, last_block
    ),
    stages=timm_vit_stages,
    stage_shapes=timm_vit_stage_shapes,
    dense_bytes=timm_vit_bytes,
    pads=True,
    check=check_timm_vit,
)

# By the class of a TimmModel's trunk; derived classes may have other parts.
_TRUNKS: dict[type[nn.Module], ImageTowerKind] = {
    ConvNeXt: _CONVNEXT,
    FastVit: _CONVNEXT,
    TimmViT: _TIMM_VIT,
    Eva: _TIMM_VIT,
}


def image_tower_kind(visual: nn.Module) -> ImageTowerKind:
    """Find the kind of an image tower.

    Raises:
        ValueError: the class of the tower, or of its trunk, is not supported.
    """
    if isinstance(visual, TimmModel):
        trunk = type(visual.trunk)
        if trunk in _TRUNKS:
            return _TRUNKS[trunk]
        names = ", ".join(known.__name__ for known in _TRUNKS)
        raise ValueError(
            f"the image tower is timm's {trunk.__name__}, and its supported classes are {names}; "
            "choose a model such as 'ViT-B-16-SigLIP2' or 'convnext_base_w'."
        )
    for known, kind in _KINDS.items():
        if isinstance(visual, known):
            return kind
    names = ", ".join(known.__name__ for known in (*_KINDS, TimmModel))
    raise ValueError(
        f"the image tower is a {type(visual).__name__}, and the supported ones of open_clip are "
        f"{names}; choose a ViT such as 'ViT-B-16'."
    )
