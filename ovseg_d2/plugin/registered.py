"""Models, backbones and heads by their registered names."""

from difflib import get_close_matches
from typing import Any

from fvcore.common.registry import Registry
from torch import nn

from ..d2.config import CfgNode
from ..d2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    Backbone,
)
from ..d2.modeling import build_backbone as build_d2_backbone
from ..d2.modeling import build_model as build_d2_model

__all__ = ["build_backbone", "build_model", "head_type"]


def build_model(cfg: CfgNode) -> nn.Module:
    """Build the model that ``MODEL.META_ARCHITECTURE`` names, on ``MODEL.DEVICE``.

    Raises:
        ValueError: the name is not registered, or the model refuses a value.
    """
    _check_name(META_ARCH_REGISTRY, "MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE)
    return build_d2_model(cfg)


def build_backbone(cfg: CfgNode) -> Backbone:
    """Build the backbone that ``MODEL.BACKBONE.NAME`` names, for images of ``MODEL.PIXEL_MEAN``.

    Raises:
        ValueError: the name is not registered, or the backbone refuses a value.
    """
    _check_name(BACKBONE_REGISTRY, "MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME)
    return build_d2_backbone(cfg)


def head_type(cfg: CfgNode, base: type, remedy: str) -> Any:
    """Return the registered class that ``MODEL.SEM_SEG_HEAD.NAME`` names.

    Args:
        cfg: the config.
        base: the class itself, or a base of it.
        remedy: the end of the error's sentence: the fault and the remedy.

    Raises:
        ValueError: the name is not registered, or not of a subclass of ``base``.
    """
    name = cfg.MODEL.SEM_SEG_HEAD.NAME
    kind = SEM_SEG_HEADS_REGISTRY.get(name) if name in SEM_SEG_HEADS_REGISTRY else None
    if not (isinstance(kind, type) and issubclass(kind, base)):
        raise ValueError(f"MODEL.SEM_SEG_HEAD.NAME {name!r} {remedy}")
    return kind


def _check_name(registry: Registry, key: str, name: str) -> None:
    if name in registry:
        return
    known = [registered for registered, _ in registry]
    similar = get_close_matches(name, known, n=3)
    hint = f"similar names are {', '.join(similar)}" if similar else f"choose of {', '.join(known)}"
    raise ValueError(f"{key} {name!r} is not registered; {hint}")
