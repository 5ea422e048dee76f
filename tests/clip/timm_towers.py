"""Tiny image towers of timm's ViTs, one for each way that their trunks are built."""

from collections.abc import Callable

import torch
from open_clip.timm_model import TimmModel
from timm.layers import HybridEmbed
from timm.models.eva import Eva
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer
from timm.models.vitamin import GeGluMlp
from torch import nn

WIDTH, DIM = 32, 24
_SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "depth": 3, "num_heads": 2}
_EVA = {**_SIZES, "mlp_ratio": 2, "global_pool": "token", "num_classes": DIM}
_ROPE = {"use_rot_pos_emb": True, "ref_feat_shape": (4, 4), "rope_grid_offset": 1.0}


def _embed(**options) -> HybridEmbed:
    """Patches from two convolutions, as in ViTamin."""
    convolutions = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.Conv2d(8, WIDTH, 2, 2))
    options = {key: options[key] for key in ("img_size", "embed_dim")}
    return HybridEmbed(convolutions, patch_size=1, proj=False, **options)


TRUNKS: dict[str, Callable[[], nn.Module]] = {
    "SigLIP": lambda: VisionTransformer(
        **_SIZES, class_token=False, global_pool="map", num_classes=0
    ),
    "MobileCLIP-B": lambda: VisionTransformer(
        **_SIZES, pre_norm=True, init_values=0.5, no_embed_class=True, num_classes=DIM
    ),
    "ViTamin": lambda: VisionTransformer(
        **_SIZES,
        class_token=False,
        global_pool="avg",
        mlp_layer=GeGluMlp,
        embed_layer=_embed,
        fc_norm=False,
        num_classes=DIM,
    ),
    "EVA01": lambda: Eva(**_EVA, init_values=0.5),
    "EVA02": lambda: Eva(
        **_EVA, **_ROPE, qkv_fused=False, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True
    ),
    "EVA02-E": lambda: Eva(**_EVA, use_post_norm=True),
    "PE-Core": lambda: Eva(
        **{**_EVA, "global_pool": "map", "num_classes": DIM},
        **_ROPE,
        attn_type="rope",
        use_pre_transformer_norm=True,
        rope_grid_indexing="xy",
    ),
}


def build_timm_visual(kind: str) -> TimmModel:
    """Build a tower with a trunk of `TRUNKS`, or "FastViT"; all parameters are random.

    A ViT's grid is 4x4 of 8 pixels, its width 32 and its D 24, or 32 for "SigLIP".
    """
    visual = TimmModel("test_vit", DIM, 32, pool="token", proj="none")
    if kind == "FastViT":
        visual.trunk = FastVit(
            layers=(1, 1, 1, 1),
            embed_dims=(8, 16, 32, 64),
            token_mixers=("repmixer", "repmixer", "repmixer", "attention"),
            num_classes=DIM,
        )
    else:
        visual.trunk = TRUNKS[kind]()
    with torch.no_grad():
        for parameter in visual.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return visual.eval()
