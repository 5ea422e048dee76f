"""Models and backbones by their registered names."""

from difflib import get_close_matches

from fvcore.common.registry import Registry
from torch import nn

from ..d2.config import CfgNode
from ..d2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, Backbone
from ..d2.modeling import build_backbone as build_d2_backbone
from ..d2.modeling import build_model as build_d2_model

__all__ = ["build_backbone", "build_model"]


def build_model(cfg: CfgNode) -> nn.Module:
    """The model that ``MODEL.META_ARCHITECTURE`` names, on ``MODEL.DEVICE``.

    Raises:
        ValueError: the name is not registered, or what the model refuses.
    """
    _check_name(META_ARCH_REGISTRY, "MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE)
    return build_d2_model(cfg)


def build_backbone(cfg: CfgNode) -> Backbone:
    """The backbone that ``MODEL.BACKBONE.NAME`` names, for images of ``MODEL.PIXEL_MEAN``.

    Raises:
        ValueError: the name is not registered, or what the backbone refuses.
    """
    _check_name(BACKBONE_REGISTRY, "MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME)
    return build_d2_backbone(cfg)


def _check_name(registry: Registry, key: str, name: str) -> None:
    if name in registry:
        return
    known = [each for each, _ in registry]
    similar = get_close_matches(name, known, n=3)
    hint = f"similar names are {', '.join(similar)}" if similar else f"choose of {', '.join(known)}"
    raise ValueError(f"{key} {name!r} is not registered; {hint}")
