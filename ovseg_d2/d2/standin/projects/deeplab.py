"""What detectron2's DeepLab project adds: config keys, poly schedule, ResNet-C backbone."""

from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..config import CfgNode
from ..layers import ShapeSpec
from ..modeling import BACKBONE_REGISTRY
from ..modeling.resnet import BasicStem, CNNBlockBase, ResNet, build_conv, build_resnet
from ..solver import build_lr_scheduler as build_default_lr_scheduler


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


class WarmupPolyLR(LRScheduler):
    """The rate ``base * warmup(t) * (1 - t / max_iters) ** power`` of iteration t."""

    def __init__(
        self,
        optimizer: Optimizer,
        max_iters: int,
        warmup_factor: float = 0.001,
        warmup_iters: int = 1000,
        warmup_method: str = "linear",
        last_epoch: int = -1,
        power: float = 0.9,
        constant_ending: float = 0.0,
    ):
        """Begin a schedule.

        Args:
            optimizer: its rates are the base rates.
            max_iters: iterations after which the rate is 0.
            warmup_factor: factor at iteration 0.
            warmup_iters: iterations before the factor is 1.
            warmup_method: "linear", or "constant": the factor stays until then.
            last_epoch: the last iteration done.
            power: of the decay.
            constant_ending: once warmed up, the rate does not fall below this share of the base.

        Raises:
            ValueError: ``warmup_method`` is unknown.
        """
        if warmup_method not in ("linear", "constant"):
            raise ValueError(f"Unknown warmup method: {warmup_method}")
        self.max_iters = max_iters
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        self.power = power
        self.constant_ending = constant_ending
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The rate of each parameter group at iteration ``last_epoch``."""
        decay = max(1.0 - self.last_epoch / self.max_iters, 0.0) ** self.power
        if self.last_epoch >= self.warmup_iters:
            factor = max(decay, self.constant_ending)
        elif self.warmup_method == "constant":
            factor = decay * self.warmup_factor
        else:
            progress = self.last_epoch / self.warmup_iters
            factor = decay * (self.warmup_factor * (1 - progress) + progress)
        return [base_lr * factor for base_lr in self.base_lrs]

    def state_dict(self) -> dict[str, object]:
        """Where the schedule is, without its shape, so that a run can be resumed with a longer one.

        Departs: detectron2 saves ``max_iters`` too, and fails past it after such a resumption.
        """
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """Build the schedule ``cfg.SOLVER.LR_SCHEDULER_NAME``: "WarmupPolyLR" or a default one."""
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "WarmupPolyLR":
        return build_default_lr_scheduler(cfg, optimizer)
    return WarmupPolyLR(
        optimizer,
        solver.MAX_ITER,
        warmup_factor=solver.WARMUP_FACTOR,
        warmup_iters=solver.WARMUP_ITERS,
        warmup_method=solver.WARMUP_METHOD,
        power=solver.POLY_LR_POWER,
        constant_ending=solver.POLY_LR_CONSTANT_ENDING,
    )


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
