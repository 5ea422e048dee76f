"""The head of a MaskFormer for detectron2, and the MaskFormer on any backbone."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..d2.config import CfgNode, configurable
from ..d2.layers import ShapeSpec
from ..d2.modeling import SEM_SEG_HEADS_REGISTRY
from ..losses import SetCriterion
from ..nets import HungarianMatcher, ProposalHead, proposal_head_parts
from ..systems import OVSegMaskFormer as OVSegMaskFormerSystem
from .backbones import pixel_statistics
from .registered import build_backbone, head_type

__all__ = ["OVSegMaskFormerHead", "build_maskformer"]

_REMEDY = "is no head of a MaskFormer; set it to OVSegMaskFormerHead, or register a subclass of it"


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegMaskFormerHead(ProposalHead):
    """Pixel decoder, transformer decoder and the network of proposal embeddings.

    Departs from detectron2's heads: the output is proposals, to which the system gives classes and
    losses; the constructor takes the width of CLIP's embeddings beside config and shapes.
    Subclasses may be registered as further heads.
    """

    @configurable
    def __init__(self, **parts: Any) -> None:
        """Arguments are those of `ProposalHead`."""
        super().__init__(**parts)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec], *, embed_dim: int
    ) -> dict[str, Any]:
        """Read ``MODEL.OVSEG.MASKFORMER``.

        Args:
            cfg: the config.
            input_shape: of the maps that the head takes, the finest first.
            embed_dim: D of the CLIP whose texts classify the proposals.

        Raises:
            ValueError: sizes that do not fit each other.
        """
        options = cfg.MODEL.OVSEG.MASKFORMER
        return proposal_head_parts(
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
            memory_layers=options.MEMORY_LAYERS,
            norm_first=options.PRE_NORM,
            always_project=options.PROJECT_MEMORY,
        )


def build_maskformer(cfg: CfgNode, embed_dim: int) -> OVSegMaskFormerSystem:
    """Build the MaskFormer that ``MODEL.BACKBONE`` and ``MODEL.OVSEG.MASKFORMER`` describe.

    Args:
        cfg: the config.
        embed_dim: D of the CLIP whose texts classify the proposals.

    Raises:
        ValueError: a head that is not registered or of another kind, a map that the backbone does
            not have, or invalid sizes and weights.
    """
    options = cfg.MODEL.OVSEG.MASKFORMER
    backbone = build_backbone(cfg)
    shapes = _choose_maps(backbone.output_shape(), options.IN_FEATURES)
    mean, std, bgr = pixel_statistics(cfg, backbone, white=1)
    if bgr:  # the system's images and statistics are RGB
        backbone.register_forward_pre_hook(_flip_channels)
        mean, std = mean[::-1], std[::-1]
    divisibility = max(backbone.size_divisibility, 1)
    least = max(options.SIZE_DIVISIBILITY, 1)
    weights = {
        "class_weight": options.CLASS_WEIGHT,
        "mask_weight": options.MASK_WEIGHT,
        "dice_weight": options.DICE_WEIGHT,
    }
    return OVSegMaskFormerSystem(
        backbone=backbone,
        head=head_type(cfg, OVSegMaskFormerHead, _REMEDY)(cfg, shapes, embed_dim=embed_dim),
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
        # The smallest multiple of the backbone's that is at least SIZE_DIVISIBILITY.
        size_divisibility=divisibility * -(-least // divisibility),
        logit_scale=options.LOGIT_SCALE,
    )


def _choose_maps(shapes: dict[str, ShapeSpec], chosen: Sequence[str]) -> dict[str, ShapeSpec]:
    """Return the shapes of the maps that the head takes, the finest first."""
    unknown = [name for name in chosen if name not in shapes]
    if unknown:
        raise ValueError(
            f"MODEL.OVSEG.MASKFORMER.IN_FEATURES has {unknown[0]!r}, and the backbone gives "
            f"{', '.join(shapes)}; choose of them, or leave it empty for all"
        )
    names = sorted(chosen or shapes, key=lambda name: shapes[name].stride)
    return {name: shapes[name] for name in names}


def _flip_channels(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0].flip(1),)
