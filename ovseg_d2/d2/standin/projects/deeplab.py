"""Config keys and the ResNet-C backbone of detectron2's DeepLab project."""

from torch import Tensor
from torch.nn import functional as F

from ..config import CfgNode
from ..layers import ShapeSpec
from ..modeling import BACKBONE_REGISTRY
from ..modeling.resnet import BasicStem, CNNBlockBase, ResNet, build_conv, build_resnet

__all__ = ["add_deeplab_config"]


def add_deeplab_config(cfg: CfgNode) -> None:
    """Add the project's keys with their defaults to a config."""
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 1.0  # share of a crop; 1 accepts any crop
    cfg.SOLVER.POLY_LR_POWER = 0.9
    cfg.SOLVER.POLY_LR_CONSTANT_ENDING = 0.0  # share of BASE_LR; 0 for none
    cfg.MODEL.SEM_SEG_HEAD.LOSS_TYPE = "hard_pixel_mining"
    cfg.MODEL.SEM_SEG_HEAD.PROJECT_FEATURES = ["res2"]
    cfg.MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS = [48]
    cfg.MODEL.SEM_SEG_HEAD.ASPP_CHANNELS = 256
    cfg.MODEL.SEM_SEG_HEAD.ASPP_DILATIONS = [6, 12, 18]
    cfg.MODEL.SEM_SEG_HEAD.ASPP_DROPOUT = 0.1
    cfg.MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV = False
    cfg.MODEL.RESNETS.RES4_DILATION = 1
    cfg.MODEL.RESNETS.RES5_MULTI_GRID = [1, 2, 4]
    cfg.MODEL.RESNETS.STEM_TYPE = "deeplab"  # or "basic"


class DeepLabStem(CNNBlockBase):
    """Three 3x3 convolutions in place of the 7x7 (ResNet-C), and max-pooling; stride 4."""

    def __init__(self, in_channels: int = 3, out_channels: int = 128, norm: str = "BN"):
        """Build the stem; ``norm`` as for ``get_norm``."""
        super().__init__(in_channels, out_channels, 4)
        self.conv1 = build_conv(in_channels, out_channels // 2, 3, norm, stride=2)
        self.conv2 = build_conv(out_channels // 2, out_channels // 2, 3, norm)
        self.conv3 = build_conv(out_channels // 2, out_channels, 3, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_channels, H/4, W/4), sizes rounded up."""
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu_(conv(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


_STEMS = {"basic": BasicStem, "deeplab": DeepLabStem}


@BACKBONE_REGISTRY.register()
def build_resnet_deeplab_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """The ResNet of ``cfg.MODEL.RESNETS`` with DeepLab's stem, dilation and multi-grid.

    Raises:
        ValueError: ``STEM_TYPE`` is neither "basic" nor "deeplab".
        AssertionError: ``RES4_DILATION`` is not 1 or 2, ``RES5_DILATION`` not 1, 2 or 4, or
            ``res4`` is dilated and ``RES5_DILATION`` is not 4.
    """
    resnets = cfg.MODEL.RESNETS
    if resnets.STEM_TYPE not in _STEMS:
        raise ValueError(f"Unknown stem type: {resnets.STEM_TYPE}")
    res4_dilation, res5_dilation = resnets.RES4_DILATION, resnets.RES5_DILATION
    assert res4_dilation in (1, 2), f"res4_dilation cannot be {res4_dilation}."
    assert res5_dilation in (1, 2, 4), f"res5_dilation cannot be {res5_dilation}."
    assert res4_dilation == 1 or res5_dilation == 4, (
        f"res5_dilation must be 4 where res4_dilation is 2, got {res5_dilation}."
    )
    stem = _STEMS[resnets.STEM_TYPE](input_shape.channels, resnets.STEM_OUT_CHANNELS, resnets.NORM)
    return build_resnet(
        cfg,
        stem,
        res4_dilation=res4_dilation,
        res5_dilation=res5_dilation,
        res5_multi_grid=resnets.RES5_MULTI_GRID,
    )
