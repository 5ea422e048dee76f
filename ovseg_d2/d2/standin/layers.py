"""Convolution with a norm, norm layers by name, shapes of features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conv2d", "FrozenBatchNorm2d", "ShapeSpec", "get_norm"]


@dataclass
class ShapeSpec:
    """Shape of a feature map; None where it is unknown."""

    channels: int | None = None
    height: int | None = None
    width: int | None = None
    stride: int | None = None  # input pixels per feature pixel


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` and an optional norm."""

    def __init__(self, *args: Any, norm: nn.Module | None = None, **kwargs: Any):
        """Take the arguments of ``torch.nn.Conv2d`` and a norm layer."""
        super().__init__(*args, **kwargs)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, C_out, H', W')."""
        x = super().forward(x)
        return x if self.norm is None else self.norm(x)


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine parameters are buffers and never change."""

    num_batches_tracked: Tensor | None
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5):
        """Start as the identity on ``num_features`` channels."""
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features) - eps)
        # Filled only where a trained norm was converted, so that its state dict keeps its keys.
        self.register_buffer("num_batches_tracked", None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and dtype."""
        if not x.requires_grad:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        # In this form the backward pass stores nothing for gradients of the constants.
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None].to(x.dtype) + shift[:, None, None].to(x.dtype)

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Replace every batch norm in a module by a frozen one; returns the module or its norm."""
        if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)):
            frozen = cls(module.num_features, module.eps).to(module.running_mean)
            if module.affine:
                frozen.weight.copy_(module.weight.detach())
                frozen.bias.copy_(module.bias.detach())
            frozen.running_mean.copy_(module.running_mean)
            frozen.running_var.copy_(module.running_var)
            frozen.num_batches_tracked = module.num_batches_tracked
            return frozen
        for name, child in module.named_children():
            setattr(module, name, cls.convert_frozen_batchnorm(child))
        return module


class _ChannelLayerNorm(nn.Module):
    """Layer norm over the channels of each pixel of (B, C, H, W)."""

    def __init__(self, num_channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        x = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1)


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda num_channels: nn.GroupNorm(32, num_channels),
    "LN": _ChannelLayerNorm,
}


def get_norm(norm: str, out_channels: int) -> nn.Module | None:
    """Build the norm layer that a config names.

    Args:
        norm: "BN", "SyncBN", "FrozenBN", "GN" (32 groups) or "LN" (over channels); "" for none.
        out_channels: channels of the layer.

    Returns:
        The layer, or None.

    Raises:
        KeyError: the name is unknown.
    """
    if norm == "":
        return None
    if norm not in _NORMS:
        raise KeyError(f"norm is '{norm}'; choose one of {sorted(_NORMS)} or ''.")
    return _NORMS[norm](out_channels)
