"""Feature maps of a Swin Transformer as in detectors, from the parts of timm's network.

Shape shorthand: B images, C channels, H x W pixels or locations.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.swin_transformer import (
    SwinTransformer,
    SwinTransformerBlock,
    window_partition,
    window_reverse,
)
from torch import Tensor, nn

from .timm_features import check_name, create_network_from_file, create_network_from_timm

__all__ = ["SwinFeatures", "build_swin_features"]


class SwinFeatures(nn.Module):
    """Swin for images of any size, with a norm on every output.

    Source: the official detection and segmentation code of Swin, and of [ovseg] after it.
    Departs from timm's: maps are padded to whole windows before they are shifted, every second
    block shifts maps of any size, and every output is normed; weights are the same.

    Attributes:
        channels: of the maps.
        strides: of the maps, in pixels.
        indices: timm's numbers of the maps.
        size_divisibility: the coarsest stride in pixels; images of other sizes are padded to whole
            patches only, and the sizes of their maps are rounded up.
        mean: of RGB in [0, 1] in the network's training.
        std: standard deviation of RGB in [0, 1] in the network's training.
    """

    def __init__(self, network: nn.Module, *, absolute_positions: bool = False) -> None:
        """Take the parts of a network.

        Args:
            network: of timm, built with ``always_partition`` and ``strict_img_size=False``.
            absolute_positions: add learnt positions to the patches, resized bicubically from the
                grid of the network's own image size. The release's ``ape``; its models have none.

        Raises:
            ValueError: another network, or one built with other options.
        """
        super().__init__()
        if not isinstance(network, SwinTransformer) or not network.dynamic_img_size:
            raise ValueError(
                f"network is a {type(network).__name__}, not a Swin Transformer for any size; give "
                "one from build_swin_features"
            )
        info: list[dict[str, Any]] = network.feature_info
        self.channels: tuple[int, ...] = tuple(stage["num_chs"] for stage in info)
        self.strides: tuple[int, ...] = tuple(stage["reduction"] for stage in info)
        self.indices: tuple[int, ...] = tuple(range(len(info)))
        self.size_divisibility = self.strides[-1]
        about: Any = getattr(network, "pretrained_cfg", None) or {}
        self.mean: tuple[float, ...] = tuple(about.get("mean") or IMAGENET_DEFAULT_MEAN)
        self.std: tuple[float, ...] = tuple(about.get("std") or IMAGENET_DEFAULT_STD)
        self.patch_embed = network.patch_embed
        self.stages: Any = network.layers
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)
        self.position_embed: nn.Parameter | None = None
        if absolute_positions:
            grid: Any = network.patch_embed.grid_size
            self.position_embed = nn.Parameter(torch.zeros(1, self.channels[0], *grid))
            nn.init.trunc_normal_(self.position_embed, std=0.02)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute the feature maps of images.

        Args:
            images: (B, C, H, W) normalised; any H and W.

        Returns:
            Maps (B, C_i, H_i, W_i), the finest first; H_0 is H / 4 and H_(i+1) is H_i / 2, rounded
            up.
        """
        patch = self.strides[0]
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % patch, 0, -height % patch))
        feats = self.patch_embed(images)  # (B, H, W, C)
        if self.position_embed is not None:
            size = (feats.shape[1], feats.shape[2])
            positions = F.interpolate(
                self.position_embed, size, mode="bicubic", align_corners=False
            )
            feats = feats + positions.permute(0, 2, 3, 1).to(feats)
        maps = []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            feats = stage.downsample(feats)
            for block in stage.blocks:
                feats = _run_block(block, feats)
            maps.append(norm(feats).permute(0, 3, 1, 2).contiguous())
        return maps


def _run_block(block: SwinTransformerBlock, feats: Tensor) -> Tensor:
    """Run one block on (B, H, W, C)."""
    feats = feats + block.drop_path1(_attend(block, block.norm1(feats)))
    return feats + block.drop_path2(block.mlp(block.norm2(feats)))


def _attend(block: SwinTransformerBlock, feats: Tensor) -> Tensor:
    """Attend within windows of the padded, then shifted map; the padding takes part."""
    _, height, width, channels = feats.shape
    window_h, window_w = block.window_size
    padded = F.pad(feats, (0, 0, 0, -width % window_w, 0, -height % window_h))
    shift_h, shift_w = block.shift_size
    shifted = torch.roll(padded, (-shift_h, -shift_w), dims=(1, 2))
    windows = window_partition(shifted, block.window_size).flatten(1, 2)
    attended = block.attn(windows, mask=block.get_attn_mask(shifted))
    attended = attended.view(-1, window_h, window_w, channels)
    whole = window_reverse(attended, block.window_size, shifted.shape[1], shifted.shape[2])
    return torch.roll(whole, (shift_h, shift_w), dims=(1, 2))[:, :height, :width]


def build_swin_features(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    in_channels: int = 3,
    drop_path: float = 0.0,
    absolute_positions: bool = False,
    options: Sequence[tuple[str, Any]] = (),
) -> SwinFeatures:
    """Build a Swin Transformer by timm's name.

    Args:
        name: such as "swin_base_patch4_window12_384.ms_in22k".
        pretrained: as for `build_timm_features`.
        in_channels: of the images.
        drop_path: rate at which training skips the last block; rates rise linearly to it.
        absolute_positions: see `SwinFeatures`.
        options: further options of timm's ``SwinTransformer``, for sizes without a name.

    Returns:
        The network, on the CPU; the norms of its outputs have initial weights.

    Raises:
        ValueError: as `build_timm_features`, or a network that is not a Swin Transformer.
        FileNotFoundError: the file of weights does not exist.
    """
    check_name(name)
    chosen: dict[str, Any] = {"in_chans": in_channels, "num_classes": 0, **dict(options)}
    if "swin_" not in name or name.startswith("swinv2"):
        raise ValueError(f"{name!r} is not a Swin Transformer of timm; choose one like swin_tiny_*")
    chosen |= {"always_partition": True, "drop_path_rate": drop_path}
    if isinstance(pretrained, bool):
        network = create_network_from_timm(name, pretrained, **chosen)
    else:
        network = create_network_from_file(name, Path(pretrained), **chosen)
    return SwinFeatures(network, absolute_positions=absolute_positions)
