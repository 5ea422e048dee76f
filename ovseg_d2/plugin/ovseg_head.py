"""MaskFormer's head as a head of detectron2, and the system built with any backbone."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..d2.config import CfgNode, configurable
from ..d2.layers import ShapeSpec
from ..d2.modeling import SEM_SEG_HEADS_REGISTRY, Backbone
from ..losses import SetCriterion
from ..nets import HungarianMatcher, ProposalHead, build_proposal_head
from ..systems import OVSegMaskFormer as OVSegMaskFormerSystem
from .backbones import OVSegCLIPBackbone, OVSegTimmBackbone
from .registered import build_backbone

__all__ = ["OVSegMaskFormerHead", "build_maskformer"]


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegMaskFormerHead(ProposalHead):
    """Pixel decoder, transformer decoder and the network of proposal embeddings.

    Departs from detectron2's heads: it gives proposals, which the system names and judges; building
    it takes the width of CLIP's embeddings beside config and shapes. A head of one's own is a
    subclass.
    """

    @configurable
    def __init__(self, **parts: Any) -> None:
        """Take the parts of the plain head."""
        super().__init__(**parts)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec], *, embed_dim: int
    ) -> dict[str, Any]:
        """Read ``MODEL.OVSEG.MASKFORMER``.

        Args:
            cfg: the config.
            input_shape: of the maps that the head takes, the finest first.
            embed_dim: D of the CLIP whose texts name the proposals.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        options = cfg.MODEL.OVSEG.MASKFORMER
        head = build_proposal_head(
            [shape.channels for shape in input_shape.values()],
            embed_dim,
            conv_channels=options.CONV_CHANNELS,
            mask_channels=options.MASK_CHANNELS,
            dim=options.DIM,
            num_queries=options.QUERIES,
            num_layers=options.LAYERS,
            encoder_layers=options.ENCODER_LAYERS,
            num_heads=options.HEADS,
            hidden_dim=options.HIDDEN_DIM,
            query_hidden_dim=options.EMBED_HIDDEN_DIM,
            dropout=options.DROPOUT,
        )
        return {
            "pixel_decoder": head.pixel_decoder,
            "transformer_decoder": head.transformer_decoder,
            "query_network": head.query_network,
        }


def build_maskformer(cfg: CfgNode, embed_dim: int) -> OVSegMaskFormerSystem:
    """The MaskFormer that ``MODEL.BACKBONE`` and ``MODEL.OVSEG.MASKFORMER`` describe.

    Args:
        cfg: the config.
        embed_dim: D of the CLIP whose texts name the proposals.

    Raises:
        ValueError: a head that is not registered or of another kind, a map that the backbone does
            not give, or sizes and weights that mean nothing.
    """
    options = cfg.MODEL.OVSEG.MASKFORMER
    backbone = build_backbone(cfg)
    shapes = _choose_maps(backbone.output_shape(), options.IN_FEATURES)
    mean, std = _statistics(cfg, backbone)
    divisibility = max(backbone.size_divisibility, 1)
    wanted = max(options.SIZE_DIVISIBILITY, 1)
    weights = {
        "class_weight": options.CLASS_WEIGHT,
        "mask_weight": options.MASK_WEIGHT,
        "dice_weight": options.DICE_WEIGHT,
    }
    return OVSegMaskFormerSystem(
        backbone=backbone,
        head=_head_type(cfg.MODEL.SEM_SEG_HEAD.NAME)(cfg, shapes, embed_dim=embed_dim),
        embed_dim=embed_dim,
        mean=mean,
        std=std,
        in_features=list(shapes),
        criterion=SetCriterion(
            matcher=HungarianMatcher(**weights),
            no_object_weight=options.NO_OBJECT_WEIGHT,
            **weights,
        ),
        deep_supervision=options.DEEP_SUPERVISION,
        # What the backbone needs, and at least about what is wanted.
        size_divisibility=divisibility * -(-wanted // divisibility),
        logit_scale=options.LOGIT_SCALE,
    )


def _head_type(name: str) -> Any:
    kind = SEM_SEG_HEADS_REGISTRY.get(name) if name in SEM_SEG_HEADS_REGISTRY else None
    if not (isinstance(kind, type) and issubclass(kind, OVSegMaskFormerHead)):
        raise ValueError(
            f"MODEL.SEM_SEG_HEAD.NAME {name!r} is no head of a MaskFormer; set it to "
            f"{OVSegMaskFormerHead.__name__}, or register a subclass of it"
        )
    return kind


def _choose_maps(found: dict[str, ShapeSpec], wanted: Sequence[str]) -> dict[str, ShapeSpec]:
    """The maps that the head takes, the finest first."""
    unknown = [name for name in wanted if name not in found]
    if unknown:
        raise ValueError(
            f"MODEL.OVSEG.MASKFORMER.IN_FEATURES has {unknown[0]!r}, and the backbone gives "
            f"{', '.join(found)}; choose of them, or leave it empty for all"
        )
    names = sorted(wanted or found, key=lambda name: found[name].stride)
    return {name: found[name] for name in names}


def _statistics(cfg: CfgNode, backbone: Backbone) -> tuple[list[float], list[float]]:
    """Mean and deviation of R, G and B in [0, 1] that a backbone wants its images normalised by."""
    if isinstance(backbone, OVSegCLIPBackbone):
        return list(backbone.tower.mean), list(backbone.tower.std)
    if isinstance(backbone, OVSegTimmBackbone):
        return list(backbone.network.mean), list(backbone.network.std)
    mean = [value / 255 for value in cfg.MODEL.PIXEL_MEAN]
    std = [value / 255 for value in cfg.MODEL.PIXEL_STD]
    if cfg.INPUT.FORMAT == "BGR":
        # Such a backbone was trained on channels in this order; the system's images are RGB.
        backbone.register_forward_pre_hook(_flip_channels)
        mean, std = mean[::-1], std[::-1]
    return mean, std


def _flip_channels(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].flip(1),)
