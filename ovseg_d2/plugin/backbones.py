"""Backbones of detectron2: the stages of any CLIP tower, and any network of timm."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn

from ..clip import CLIPTower, LastBlock, encode_stages, stage_shapes
from ..d2.config import CfgNode, configurable
from ..d2.layers import ShapeSpec
from ..d2.modeling import BACKBONE_REGISTRY, Backbone
from ..nets import SwinFeatures, TimmFeatures, build_swin_features, build_timm_features
from .arrival import await_weights
from .clip_parts import build_last_block, build_tower
from .weights import check_pickled_weights, held_weights

__all__ = ["OVSegCLIPBackbone", "OVSegTimmBackbone", "parameters_behind", "pixel_statistics"]


class _FeatureBackbone(Backbone):
    """Base class of both backbones: names and shapes of their maps, and frozen parameters.

    A map of stride 2^n is called ``resn`` and may be selected as ``pn``, one of another stride
    ``strideN``. Images may have any size; a map of stride s is (B, C, ceil(H / s), ceil(W / s)).
    ``MODEL.BACKBONE.FREEZE_AT``, which counts the stages of detectron2's ResNet, is not read.

    Attributes:
        pixel_statistics: mean and standard deviation of R, G and B in [0, 1] that images are to be
            normalised by.
    """

    pixel_statistics: tuple[Sequence[float], Sequence[float]]

    def _describe(
        self, shapes: Mapping[str, tuple[int, int]], out_features: Sequence[str], divisibility: int
    ) -> None:
        """Set names, channels and strides of the selected maps.

        Args:
            shapes: (channels, stride) of all maps by name.
            out_features: names of the selected maps; () selects all.
            divisibility: see :attr:`size_divisibility`.

        Raises:
            ValueError: an unknown map, or one map twice.
        """
        sources = {re.sub(r"^res(?=\d)", "p", name): name for name in shapes}
        sources |= {name: name for name in shapes}
        for name in out_features:
            if name not in sources:
                raise ValueError(
                    f"out_features={list(out_features)} has {name!r}, and the maps are "
                    f"{', '.join(shapes)} (or p2 for res2 and so on); choose of them, or leave "
                    "OUT_FEATURES empty for all."
                )
        # From the name of each selected map to its name in `shapes`.
        self._sources = {name: sources[name] for name in out_features or shapes}
        if len(set(self._sources.values())) < len(out_features):
            raise ValueError(
                f"out_features={list(out_features)} has a map twice; leave one of them out."
            )
        self._out_features = list(self._sources)
        self._out_feature_channels = {k: shapes[v][0] for k, v in self._sources.items()}
        self._out_feature_strides = {k: shapes[v][1] for k, v in self._sources.items()}
        self._divisibility = divisibility

    def _settle(self, frozen: bool, in_channels: int) -> None:
        """Freeze everything, or only parameters no output depends on (DDP would hang on them)."""
        self._frozen = frozen
        if not frozen:
            self.eval()
            images = torch.zeros(1, in_channels, self._divisibility, self._divisibility)
            with torch.enable_grad():
                reached = parameters_behind(self(images).values())
        for parameter in self.parameters():
            if frozen or id(parameter) not in reached:
                parameter.requires_grad_(False)
        self.train(not frozen)

    def _select(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: maps[source] for name, source in self._sources.items()}

    @property
    def size_divisibility(self) -> int:
        """Pixels that batches are padded to multiples of, so that the network pads nothing."""
        return self._divisibility

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self._frozen)


@BACKBONE_REGISTRY.register()
class OVSegCLIPBackbone(_FeatureBackbone):
    """The image half of a CLIP tower, for images normalised by the tower's own statistics.

    A ResNet and a ConvNeXt give ``res2`` to ``res5``; a ViT its last patches, normed and not
    projected, as ``clip_tokens``. All of them give ``clip_dense``, the features of the joint space.

    :attr:`tower` has the text half too, for a text bank. Parameters that no map depends on are
    frozen.
    """

    @configurable
    def __init__(
        self,
        *,
        tower: CLIPTower,
        last_block: LastBlock | None = None,
        out_features: Sequence[str] = (),
        frozen: bool = False,
    ) -> None:
        """Build the backbone on a tower.

        Args:
            tower: of any kind.
            last_block: of ``clip_dense`` and ``clip_tokens``; MaskCLIP's value path by default.
            out_features: names of the returned maps; () returns all.
            frozen: nothing is trained, and the tower stays in evaluation mode.

        Raises:
            ValueError: an unknown map, one map twice, or a tower without such a last block.
        """
        super().__init__()
        self.tower = tower
        self.pixel_statistics = tower.mean, tower.std
        self._last_block = last_block or LastBlock()
        stages = stage_shapes(tower)
        self._stages = _level_names([stride for _, stride in stages])
        if len(stages) == 1:
            self._stages = ["clip_tokens"]
        shapes = dict(zip(self._stages, stages, strict=True))
        shapes["clip_dense"] = tower.embed_dim, stages[-1][1]
        self._describe(shapes, out_features, math.lcm(*tower.patch_size))
        self._settle(frozen, in_channels=3)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.CLIP`` and ``MODEL.CLIP_BACKBONE``.

        Raises:
            ValueError: ``MODEL.PIXEL_MEAN`` is not of three channels.
            WeightFileError: ``MODEL.WEIGHTS`` hold code, see `check_pickled_weights`.
        """
        check_pickled_weights(cfg)
        if input_shape.channels != 3:
            raise ValueError(
                f"images have {input_shape.channels} channels, and CLIP sees R, G and B; give "
                "MODEL.PIXEL_MEAN and MODEL.PIXEL_STD three numbers each."
            )
        return {
            "tower": build_tower(cfg),
            "last_block": build_last_block(cfg),
            "out_features": cfg.MODEL.CLIP_BACKBONE.OUT_FEATURES,
            "frozen": cfg.MODEL.CLIP_BACKBONE.FROZEN,
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, H, W), normalised, to feature maps by name."""
        stages, dense = encode_stages(self.tower, images, self._last_block)
        maps = dict(zip(self._stages, stages, strict=True))
        return self._select({**maps, "clip_dense": dense})


@BACKBONE_REGISTRY.register()
class OVSegTimmBackbone(_FeatureBackbone):
    """A network of timm: a pyramid ``res2`` to ``res5``, or maps of the network's other strides.

    Maps of equal stride, such as those of a ViT's blocks, have timm's number at the end of their
    names: ``res4_9``, ``res4_11``.
    """

    @configurable
    def __init__(
        self,
        *,
        network: TimmFeatures | SwinFeatures,
        in_channels: int = 3,
        out_features: Sequence[str] = (),
        frozen: bool = False,
    ) -> None:
        """Build the backbone on a network.

        Args:
            network: the plain module.
            in_channels: of the images that the network takes.
            out_features: names of the returned maps; () returns all. Maps that are left out are
                computed too, unless the network was built without them.
            frozen: nothing is trained, and the network stays in evaluation mode.

        Raises:
            ValueError: an unknown map, or one map twice.
        """
        super().__init__()
        self.network = network
        self.pixel_statistics = network.mean, network.std
        self._maps = _level_names(network.strides, network.indices)
        shapes = zip(network.channels, network.strides, strict=True)
        named = dict(zip(self._maps, shapes, strict=True))
        self._describe(named, out_features, network.size_divisibility)
        self._settle(frozen, in_channels)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read ``MODEL.TIMM``; no other weights are looked for if ``MODEL.WEIGHTS`` holds some.

        Raises:
            ValueError: an unknown norm.
            WeightFileError: ``MODEL.WEIGHTS`` hold code, see `check_pickled_weights`.
        """
        check_pickled_weights(cfg)
        timm = cfg.MODEL.TIMM
        if timm.NORM not in ("", "SyncBN"):
            raise ValueError(
                f"MODEL.TIMM.NORM {timm.NORM!r} is not one of '' (the network's own) and 'SyncBN'"
            )
        in_channels = timm.IN_CHANNELS or input_shape.channels
        held = held_weights(cfg).backbone
        pretrained = {"": False, "timm": True}.get(timm.PRETRAINED, timm.PRETRAINED)
        pretrained = False if held else pretrained
        network: TimmFeatures | SwinFeatures
        if timm.DETECTOR_SWIN:
            network = build_swin_features(
                timm.NAME,
                pretrained=pretrained,
                in_channels=in_channels,
                drop_path=timm.DROP_PATH,
                absolute_positions=timm.ABSOLUTE_POSITIONS,
            )
        else:
            network = build_timm_features(
                timm.NAME,
                pretrained=pretrained,
                out_indices=timm.OUT_INDICES or None,
                in_channels=in_channels,
                size_divisibility=timm.SIZE_DIVISIBILITY,
                output_stride=timm.OUTPUT_STRIDE,
            )
        if held:
            await_weights(network, "backbone")
        if timm.NORM == "SyncBN":
            # timm's converter, because torch's drops the activations of timm's norms.
            network = convert_sync_batchnorm(network)
        return {
            "network": network,
            "in_channels": in_channels,
            "out_features": timm.OUT_FEATURES,
            "frozen": timm.FROZEN,
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W), normalised, to feature maps by name."""
        return self._select(dict(zip(self._maps, self.network(images), strict=True)))


def _level_names(strides: Sequence[int], numbers: Sequence[int] | None = None) -> list[str]:
    """Names of maps by stride: "res2" for 4, "stride14"; with their number where strides repeat."""
    names = []
    for place, stride in enumerate(strides):
        level = stride.bit_length() - 1
        name = f"res{level}" if stride == 1 << level else f"stride{stride}"
        if numbers is not None and list(strides).count(stride) > 1:
            name += f"_{numbers[place]}"
        names.append(name)
    return names


def pixel_statistics(
    cfg: CfgNode, backbone: Backbone, *, white: int
) -> tuple[list[float], list[float], bool]:
    """Return mean and standard deviation that a backbone's images are to be normalised by.

    Args:
        cfg: reads ``MODEL.PIXEL_MEAN``, ``MODEL.PIXEL_STD`` and ``INPUT.FORMAT`` for a backbone
            without an attribute ``pixel_statistics``, such as detectron2's own.
        backbone: any of detectron2's.
        white: the largest pixel value, 1 or 255.

    Returns:
        Both in the backbone's order of channels; and whether that order is BGR.
    """
    known = getattr(backbone, "pixel_statistics", None)
    if known is not None:
        mean, std = ([white * value for value in values] for values in known)
        return mean, std, False
    scale = 255 / white
    mean, std = (
        [value / scale for value in values]
        for values in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
    )
    return mean, std, cfg.INPUT.FORMAT == "BGR"


def parameters_behind(outputs: Iterable[Tensor]) -> set[int]:
    """Ids of the parameters that outputs depend on, read from their graph."""
    pending = [output.grad_fn for output in outputs]
    seen, reached = set(), set()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # the node that accumulates a leaf's gradient
            reached.add(id(node.variable))
        pending += [parent for parent, _ in node.next_functions]
    return reached
