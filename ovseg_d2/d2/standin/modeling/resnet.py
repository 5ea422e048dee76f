"""ResNet-50, -101 and -152 with detectron2's parameter names, plain or dilated as in DeepLab.

The first stage after the stem is called ``res2`` and keeps the stem's stride of 4; ``res3``,
``res4`` and ``res5`` each halve the size, unless they are dilated.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..config import CfgNode
from ..layers import Conv2d, FrozenBatchNorm2d, ShapeSpec, get_norm
from .backbone import BACKBONE_REGISTRY, Backbone

_NUM_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}  # of res2 to res5


def build_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    norm: str,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> Conv2d:
    """A convolution without bias that keeps the size (at stride 1), with a norm and He's init."""
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
        norm=get_norm(norm, out_channels),
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class CNNBlockBase(nn.Module):
    """A block with known channels and stride that can be frozen."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        """Set channels and stride."""
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.stride = stride

    def freeze(self) -> "CNNBlockBase":
        """Stop training of all parameters and batch statistics; returns the block itself."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        FrozenBatchNorm2d.convert_frozen_batchnorm(self)
        return self


class BasicStem(CNNBlockBase):
    """A 7x7 convolution and max-pooling, stride 4 together."""

    def __init__(self, in_channels: int = 3, out_channels: int = 64, norm: str = "BN"):
        """Build the stem; ``norm`` as for ``get_norm``."""
        super().__init__(in_channels, out_channels, 4)
        self.conv1 = build_conv(in_channels, out_channels, 7, norm, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_channels, H/4, W/4), sizes rounded up."""
        return F.max_pool2d(F.relu_(self.conv1(x)), kernel_size=3, stride=2, padding=1)


class BottleneckBlock(CNNBlockBase):
    """Convolutions 1x1, 3x3, 1x1 beside a shortcut, which is projected if the channels change."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bottleneck_channels: int,
        stride: int = 1,
        num_groups: int = 1,
        norm: str = "BN",
        stride_in_1x1: bool = False,
        dilation: int = 1,
    ):
        """Build a block.

        Args:
            in_channels: channels of the input.
            out_channels: channels of the output.
            bottleneck_channels: channels of the 3x3 convolution.
            stride: of the whole block.
            num_groups: of the 3x3 convolution.
            norm: as for ``get_norm``.
            stride_in_1x1: the first 1x1 convolution strides, as in the first ResNets, not the 3x3.
            dilation: of the 3x3 convolution.
        """
        super().__init__(in_channels, out_channels, stride)
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.shortcut = (
            build_conv(in_channels, out_channels, 1, norm, stride=stride)
            if in_channels != out_channels
            else None
        )
        self.conv1 = build_conv(in_channels, bottleneck_channels, 1, norm, stride=stride_1x1)
        self.conv2 = build_conv(
            bottleneck_channels,
            bottleneck_channels,
            3,
            norm,
            stride=stride_3x3,
            dilation=dilation,
            groups=num_groups,
        )
        self.conv3 = build_conv(bottleneck_channels, out_channels, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H/stride, W/stride), rounded up."""
        out = F.relu_(self.conv1(x))
        out = F.relu_(self.conv2(out))
        out = self.conv3(out)
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


class ResNet(Backbone):
    """A stem and up to four stages of blocks."""

    def __init__(
        self,
        stem: CNNBlockBase,
        stages: Sequence[Sequence[CNNBlockBase]],
        out_features: Sequence[str],
        freeze_at: int = 0,
    ):
        """Join the parts.

        Args:
            stem: the layers before ``res2``.
            stages: the blocks of ``res2`` and those after it.
            out_features: which outputs to return, of "stem", "res2", ...
            freeze_at: 1 freezes the stem, 2 also ``res2``, and so on.

        Raises:
            AssertionError: ``out_features`` is empty or names something else.
        """
        super().__init__()
        self.stem = stem
        self._out_features = list(out_features)
        self._out_feature_strides = {"stem": stem.stride}
        self._out_feature_channels = {"stem": stem.out_channels}
        self.stage_names = tuple(f"res{i + 2}" for i in range(len(stages)))
        stride = stem.stride
        for name, blocks in zip(self.stage_names, stages, strict=True):
            self.add_module(name, nn.Sequential(*blocks))
            for block in blocks:
                stride *= block.stride
            self._out_feature_strides[name] = stride
            self._out_feature_channels[name] = blocks[-1].out_channels
        available = ", ".join(self._out_feature_strides)
        assert self._out_features, f"out_features is empty. Available children: {available}"
        for name in self._out_features:
            assert name in self._out_feature_strides, (
                f"out_features names '{name}'. Available children: {available}"
            )
        self.freeze(freeze_at)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) to the ``out_features``; those of stride s are (B, C_s, H/s, W/s)."""
        assert x.dim() == 4, f"ResNet takes an input of shape (N, C, H, W). Got {x.shape} instead!"
        outputs = {}
        for name in ("stem", *self.stage_names):
            x = getattr(self, name)(x)
            if name in self._out_features:
                outputs[name] = x
        return outputs

    def freeze(self, freeze_at: int = 0) -> "ResNet":
        """Freeze the stem (1), ``res2`` as well (2), and so on; returns the network itself."""
        if freeze_at >= 1:
            self.stem.freeze()
        for i, name in enumerate(self.stage_names, start=2):
            if freeze_at >= i:
                for block in getattr(self, name):
                    block.freeze()
        return self


def build_resnet(
    cfg: CfgNode,
    stem: CNNBlockBase,
    *,
    res4_dilation: int = 1,
    res5_dilation: int = 1,
    res5_multi_grid: Sequence[int] = (1, 1, 1),
) -> ResNet:
    """Build a ResNet on a stem; a dilated stage does not stride.

    Args:
        cfg: its ``MODEL.RESNETS`` and ``MODEL.BACKBONE.FREEZE_AT`` are read.
        stem: of ``STEM_OUT_CHANNELS`` channels.
        res4_dilation: of all blocks of ``res4``.
        res5_dilation: of ``res5``, times the block's factor.
        res5_multi_grid: a factor for each block of ``res5``.

    Raises:
        ValueError: ``DEPTH`` is not 50, 101 or 152.
        AssertionError: the factors are not as many as the blocks.
    """
    resnets = cfg.MODEL.RESNETS
    if resnets.DEPTH not in _NUM_BLOCKS:
        raise ValueError(f"MODEL.RESNETS.DEPTH is {resnets.DEPTH}; choose of {list(_NUM_BLOCKS)}.")
    num_blocks = _NUM_BLOCKS[resnets.DEPTH]
    assert len(res5_multi_grid) == num_blocks[3], (
        f"RES5_MULTI_GRID is {list(res5_multi_grid)}, but res5 has {num_blocks[3]} blocks."
    )
    dilations = [
        [1] * num_blocks[0],
        [1] * num_blocks[1],
        [res4_dilation] * num_blocks[2],
        [res5_dilation * factor for factor in res5_multi_grid],
    ]
    strides = [1, 2, 1 if res4_dilation > 1 else 2, 1 if res5_dilation > 1 else 2]
    # Stages that nothing reads would hold memory, and starve DistributedDataParallel of gradients.
    names = ["res2", "res3", "res4", "res5"]
    num_stages = max((names.index(f) + 1 for f in resnets.OUT_FEATURES if f in names), default=0)

    stages = []
    in_channels = resnets.STEM_OUT_CHANNELS
    out_channels = resnets.RES2_OUT_CHANNELS
    bottleneck_channels = resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP
    for stride, block_dilations in zip(strides[:num_stages], dilations[:num_stages], strict=True):
        blocks: list[CNNBlockBase] = []
        for dilation in block_dilations:
            blocks.append(
                BottleneckBlock(
                    out_channels if blocks else in_channels,
                    out_channels,
                    bottleneck_channels=bottleneck_channels,
                    stride=1 if blocks else stride,
                    num_groups=resnets.NUM_GROUPS,
                    norm=resnets.NORM,
                    stride_in_1x1=resnets.STRIDE_IN_1X1,
                    dilation=dilation,
                )
            )
        stages.append(blocks)
        in_channels = out_channels
        out_channels *= 2
        bottleneck_channels *= 2
    return ResNet(stem, stages, resnets.OUT_FEATURES, cfg.MODEL.BACKBONE.FREEZE_AT)


@BACKBONE_REGISTRY.register()
def build_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """The ResNet of ``cfg.MODEL.RESNETS``; ``RES5_DILATION`` 2 keeps ``res5`` at stride 16."""
    resnets = cfg.MODEL.RESNETS
    assert resnets.RES5_DILATION in (1, 2), f"res5_dilation cannot be {resnets.RES5_DILATION}."
    stem = BasicStem(input_shape.channels, resnets.STEM_OUT_CHANNELS, resnets.NORM)
    return build_resnet(cfg, stem, res5_dilation=resnets.RES5_DILATION)
