"""The interface of backbones, and how a config names one."""

from abc import ABCMeta, abstractmethod
from typing import Any

from fvcore.common.registry import Registry
from torch import Tensor, nn

from ..config import CfgNode
from ..layers import ShapeSpec

# Of functions or classes called with (cfg, input_shape: ShapeSpec) that give a Backbone.
BACKBONE_REGISTRY = Registry("BACKBONE")


class Backbone(nn.Module, metaclass=ABCMeta):
    """A network from images to named feature maps.

    A subclass sets ``_out_features`` (names), ``_out_feature_channels`` and
    ``_out_feature_strides`` (by name), or overrides :meth:`output_shape`.
    """

    _out_features: list[str]
    _out_feature_channels: dict[str, int]
    _out_feature_strides: dict[str, int]

    @abstractmethod
    def forward(self, *args: Any) -> dict[str, Tensor]:
        """Images (B, C, H, W) to feature maps by name."""

    @property
    def size_divisibility(self) -> int:
        """Number of which the input's height and width must be multiples; 0 for any size."""
        return 0

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name],
                stride=self._out_feature_strides[name],
            )
            for name in self._out_features
        }


def build_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> Backbone:
    """Build the backbone that ``cfg.MODEL.BACKBONE.NAME`` names.

    Args:
        cfg: the configuration.
        input_shape: of the images; by default as many channels as ``MODEL.PIXEL_MEAN`` has.

    Raises:
        KeyError: no backbone of this name is registered.
        AssertionError: the built object is not a Backbone.
    """
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    backbone = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)(cfg, input_shape)
    assert isinstance(backbone, Backbone), (
        f"MODEL.BACKBONE.NAME '{cfg.MODEL.BACKBONE.NAME}' built a {type(backbone).__name__}; "
        "it must derive from Backbone."
    )
    return backbone
