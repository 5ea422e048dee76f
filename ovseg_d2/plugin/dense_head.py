"""Heads that end in features of the joint space, and networks of such a head on a backbone."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..d2.config import CfgNode, configurable
from ..d2.layers import ShapeSpec, get_norm
from ..d2.modeling import SEM_SEG_HEADS_REGISTRY, Backbone
from ..nets import DeepLabV2Head, DeepLabV3PlusHead, DenseNetwork, PSPHead
from .backbones import parameters_behind, pixel_statistics
from .registered import head_type

__all__ = [
    "OVSegDeepLabV2Head",
    "OVSegDeepLabV3PlusHead",
    "OVSegNoHead",
    "OVSegPSPHead",
    "build_dense_network",
]


class _DenseHead(nn.Module):
    """Feature maps by name -> (B, D, h, w), features of the joint space.

    Departs from detectron2's heads: the system classifies, not the head; the constructor takes D as
    ``out_channels`` beside config and shapes.
    """

    @configurable
    def __init__(self, *, layers: nn.Module, in_features: tuple[str, ...], stride: int) -> None:
        """Build the head of its layers.

        Args:
            layers: a module called with the maps of ``in_features`` in reversed order, the coarsest
                first.
            in_features: names of the maps.
            stride: of the output, in pixels.
        """
        super().__init__()
        self.layers = layers
        self.in_features = in_features
        self.stride = stride

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Maps of a backbone to features (B, D, h, w)."""
        return self.layers(*(features[name] for name in reversed(self.in_features)))


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegDeepLabV2Head(_DenseHead):
    """`DeepLabV2Head` on the last of ``IN_FEATURES``."""

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], *, out_channels: int
    ) -> dict[str, Any]:
        """Read ``MODEL.SEM_SEG_HEAD`` and ``MODEL.DENSE_HEAD``."""
        shape = _one_map(cfg, input_shape)
        layers = DeepLabV2Head(
            shape.channels,
            out_channels,
            dilations=cfg.MODEL.DENSE_HEAD.DILATIONS,
            norm=_norm_from_config(cfg),
        )
        return _parts(cfg, layers, shape, 1)


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegPSPHead(_DenseHead):
    """`PSPHead` on the last of ``IN_FEATURES``."""

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], *, out_channels: int
    ) -> dict[str, Any]:
        """Read ``MODEL.SEM_SEG_HEAD`` and ``MODEL.DENSE_HEAD``."""
        shape = _one_map(cfg, input_shape)
        layers = PSPHead(
            shape.channels,
            out_channels,
            pool_scales=cfg.MODEL.DENSE_HEAD.POOL_SCALES,
            norm=_norm_from_config(cfg),
        )
        return _parts(cfg, layers, shape, 1)


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegDeepLabV3PlusHead(_DenseHead):
    """`DeepLabV3PlusHead` on the last of ``IN_FEATURES``, refined by the first."""

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], *, out_channels: int
    ) -> dict[str, Any]:
        """Read ``MODEL.SEM_SEG_HEAD`` and ``MODEL.DENSE_HEAD``.

        Raises:
            ValueError: not two maps.
        """
        names = list(cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES)
        if len(names) != 2:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.IN_FEATURES is {names}; DeepLabv3+ takes two maps, the finer "
                "one first, such as ['res2', 'res5']"
            )
        low, coarse = (_shape_of(name, input_shape) for name in names)
        options = cfg.MODEL.DENSE_HEAD
        layers = DeepLabV3PlusHead(
            coarse.channels,
            low.channels,
            out_channels,
            dilations=options.DILATIONS,
            reduced_channels=options.LOW_CHANNELS,
            separable=options.SEPARABLE,
            norm=_norm_from_config(cfg),
        )
        return _parts(cfg, layers, low, 2)


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegNoHead(_DenseHead):
    """An unchanged map of the joint space, such as ``clip_dense``."""

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec], *, out_channels: int
    ) -> dict[str, Any]:
        """Read ``MODEL.SEM_SEG_HEAD.IN_FEATURES``.

        Raises:
            ValueError: the map does not have the joint embedding's number of channels.
        """
        shape = _one_map(cfg, input_shape)
        if shape.channels != out_channels:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.NAME OVSegNoHead takes features of the joint space, which "
                f"has {out_channels} channels, and {cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES[-1]!r} has "
                f"{shape.channels}; set IN_FEATURES to ['clip_dense']"
            )
        return _parts(cfg, nn.Identity(), shape, 1)


def build_dense_network(cfg: CfgNode, backbone: Backbone, embed_dim: int) -> DenseNetwork:
    """Build the head that ``MODEL.SEM_SEG_HEAD`` describes, on a backbone.

    Parameters that the features do not depend on are frozen, because `DistributedDataParallel`
    would wait for their gradients.

    Args:
        cfg: reads ``MODEL.SEM_SEG_HEAD``, ``MODEL.DENSE_HEAD``, ``INPUT.CROP`` and what
            `pixel_statistics` reads.
        backbone: any of detectron2's.
        embed_dim: D.

    Raises:
        ValueError: a name that is not registered, or of another kind of head; maps that the
            backbone does not have; or crops that the stride does not divide.
    """
    known = ", ".join(kind.__name__ for kind in _DenseHead.__subclasses__())
    remedy = f"gives no features for text to classify; choose one of {known}"
    kind = head_type(cfg, _DenseHead, remedy)
    head = kind(cfg, backbone.output_shape(), out_channels=embed_dim)
    _check_crop(cfg, head.stride)
    mean, std, bgr = pixel_statistics(cfg, backbone, white=255)
    network = DenseNetwork(backbone, head, mean=mean, std=std, stride=head.stride, bgr=bgr)
    _freeze_unused(network, max(backbone.size_divisibility, head.stride))
    return network


def _freeze_unused(network: DenseNetwork, side: int) -> None:
    """Freeze parameters that the features do not depend on."""
    training = network.training
    network.eval()
    with torch.enable_grad():
        # Two strides a side: a group norm of single channels fails on a single location.
        features = network(torch.zeros(1, 3, 2 * side, 2 * side))
    network.train(training)
    reached = parameters_behind([features])
    for parameter in network.parameters():
        if id(parameter) not in reached:
            parameter.requires_grad_(False)


def _check_crop(cfg: CfgNode, stride: int) -> None:
    """Refuse crops whose sides are not whole strides, before the training starts."""
    crop = cfg.INPUT.CROP
    if crop.ENABLED and crop.TYPE == "absolute" and any(side % stride for side in crop.SIZE):
        fitting = [math.ceil(side / stride) * stride for side in crop.SIZE]
        raise ValueError(
            f"INPUT.CROP.SIZE is {list(crop.SIZE)}, and the network's stride of {stride} does not "
            f"divide it; set it to {fitting}, or choose other IN_FEATURES"
        )


def _shape_of(name: str, shapes: Mapping[str, ShapeSpec]) -> ShapeSpec:
    if name not in shapes:
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.IN_FEATURES has {name!r}, and the backbone gives "
            f"{', '.join(shapes)}; choose of them"
        )
    return shapes[name]


def _one_map(cfg: CfgNode, shapes: Mapping[str, ShapeSpec]) -> ShapeSpec:
    names = cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES
    if not names:
        raise ValueError("MODEL.SEM_SEG_HEAD.IN_FEATURES is empty; name a map of the backbone")
    return _shape_of(names[-1], shapes)


def _norm_from_config(cfg: CfgNode) -> Callable[[int], nn.Module]:
    name = cfg.MODEL.SEM_SEG_HEAD.NORM
    return lambda channels: get_norm(name, channels) or nn.Identity()


def _parts(cfg: CfgNode, layers: nn.Module, shape: ShapeSpec, count: int) -> dict[str, Any]:
    names = tuple(cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES)
    return {"layers": layers, "in_features": names[-count:], "stride": shape.stride}
