"""Segmentation heads that return features, for a classifier of text embeddings.

Shape shorthand: B images, C channels of a backbone's map, D joint embedding, h x w locations. All
heads end in a ReLU, as in the networks with a learnt classifier, so features are not negative.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DeepLabV2Head", "DeepLabV3PlusHead", "PSPHead"]

Norm = Callable[[int], nn.Module]


class DeepLabV2Head(nn.Module):
    """The sum of parallel dilated convolutions.

    Paper: DeepLabv2, arXiv 1606.00915, Sec. 3.2 (ASPP), in the form of [maskclip]: every branch has
    a norm and a ReLU, and the width of the text embeddings.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dilations: Sequence[int] = (6, 12, 18, 24),
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        """Build the layers with random weights.

        Args:
            in_channels: C.
            out_channels: D.
            dilations: of the 3x3 convolutions, in locations; 1 is a 1x1 convolution.
            norm: channels -> a norm layer.

        Raises:
            ValueError: no dilation, or one below 1.
        """
        super().__init__()
        self.branches = _pyramid(in_channels, out_channels, dilations, norm, separable=False)

    def forward(self, feats: Tensor) -> Tensor:
        """Map raw features (B, C, h, w) -> (B, D, h, w)."""
        return torch.stack([branch(feats) for branch in self.branches]).sum(dim=0)


class DeepLabV3PlusHead(nn.Module):
    """Dilated convolutions and the image's mean, concatenated, and refined by a finer map.

    Paper: DeepLabv3+, arXiv 1802.02611, Fig. 2, with depthwise separable convolutions.
    Departs: the branch of the image's mean has a bias in place of a norm, as in detectron2: a norm
    cannot estimate statistics from one image per process.
    """

    def __init__(
        self,
        in_channels: int,
        low_channels: int,
        out_channels: int,
        *,
        dilations: Sequence[int] = (1, 12, 24, 36),
        reduced_channels: int = 48,
        separable: bool = True,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        """Build the layers with random weights.

        Args:
            in_channels: C of the coarse map.
            low_channels: C' of the fine map.
            out_channels: D.
            dilations: of the 3x3 convolutions, in locations; 1 is a 1x1 convolution.
            reduced_channels: channels of the fine map after a 1x1 convolution.
            separable: build 3x3 convolutions as a depthwise and a 1x1 convolution.
            norm: channels -> a norm layer.

        Raises:
            ValueError: no dilation, or one below 1.
        """
        super().__init__()
        width = out_channels
        self.branches = _pyramid(in_channels, width, dilations, norm, separable)
        self.image_pool = nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.ReLU())
        self.project = _conv((len(dilations) + 1) * width, width, norm)
        self.reduce = _conv(low_channels, reduced_channels, norm, kernel=1)
        self.fuse = nn.Sequential(
            _conv(width + reduced_channels, width, norm, separable=separable),
            _conv(width, width, norm, separable=separable),
        )

    def forward(self, feats: Tensor, low_feats: Tensor) -> Tensor:
        """Map raw coarse (B, C, h, w) and fine (B, C', h', w') features -> (B, D, h', w')."""
        pooled = self.image_pool(feats.mean(dim=(2, 3), keepdim=True)).expand(
            -1, -1, *feats.shape[2:]
        )
        coarse = self.project(torch.cat([pooled, *(b(feats) for b in self.branches)], dim=1))
        return self.fuse(torch.cat([_resize(coarse, low_feats), self.reduce(low_feats)], dim=1))


class PSPHead(nn.Module):
    """The map, concatenated with its means over grids of several sizes.

    Paper: PSPNet, arXiv 1612.01105, Sec. 3.2.
    Departs: the branch of the image's mean has a bias in place of a norm, as in
    `DeepLabV3PlusHead`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        """Build the layers with random weights.

        Args:
            in_channels: C.
            out_channels: D.
            pool_scales: sides of the grids, in cells.
            norm: channels -> a norm layer.

        Raises:
            ValueError: no grid, or one without a cell.
        """
        super().__init__()
        if not pool_scales or min(pool_scales) < 1:
            raise ValueError(f"pool_scales are {tuple(pool_scales)}; give sides of 1 or more")
        self.pool_scales = tuple(pool_scales)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.ReLU())
            if scale == 1
            else _conv(in_channels, out_channels, norm, kernel=1)
            for scale in pool_scales
        )
        joined = in_channels + len(pool_scales) * out_channels
        self.project = _conv(joined, out_channels, norm)

    def forward(self, feats: Tensor) -> Tensor:
        """Map raw features (B, C, h, w) -> (B, D, h, w)."""
        pooled = [
            _resize(branch(F.adaptive_avg_pool2d(feats, scale)), feats)
            for branch, scale in zip(self.branches, self.pool_scales, strict=True)
        ]
        return self.project(torch.cat([feats, *pooled], dim=1))


def _pyramid(
    in_channels: int, out_channels: int, dilations: Sequence[int], norm: Norm, separable: bool
) -> nn.ModuleList:
    """Build a branch per dilation."""
    if not dilations or min(dilations) < 1:
        raise ValueError(f"dilations are {tuple(dilations)}; give some of 1 or more")
    return nn.ModuleList(
        _conv(in_channels, out_channels, norm, kernel=1)
        if dilation == 1
        else _conv(in_channels, out_channels, norm, dilation=dilation, separable=separable)
        for dilation in dilations
    )


def _conv(
    in_channels: int,
    out_channels: int,
    norm: Norm,
    *,
    kernel: int = 3,
    dilation: int = 1,
    separable: bool = False,
) -> nn.Sequential:
    """Build a convolution that keeps the size, a norm and a ReLU; twice if separable."""
    padding = dilation * (kernel // 2)
    if not separable:
        conv = nn.Conv2d(
            in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False
        )
        return nn.Sequential(conv, norm(out_channels), nn.ReLU())
    depthwise = nn.Conv2d(
        in_channels,
        in_channels,
        kernel,
        padding=padding,
        dilation=dilation,
        groups=in_channels,
        bias=False,
    )
    pointwise = _conv(in_channels, out_channels, norm, kernel=1)
    return nn.Sequential(depthwise, norm(in_channels), nn.ReLU(), *pointwise)


def _resize(feats: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(feats, size=like.shape[2:], mode="bilinear", align_corners=False)
