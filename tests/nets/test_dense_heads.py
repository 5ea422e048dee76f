"""Segmentation heads: equations, shapes, gradients and errors."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ovseg_d2.nets import DeepLabV2Head, DeepLabV3PlusHead, PSPHead


def run_branch(branch: nn.Sequential, feats, dilation: int = 1):
    """Run convolution, norm with initial statistics and ReLU of a branch."""
    weight = branch[0].weight
    out = F.conv2d(feats, weight, padding=dilation * (weight.shape[-1] // 2), dilation=dilation)
    return F.relu(out / (1 + 1e-5) ** 0.5)


def test_deeplabv2_head_sums_dilated_convolutions():
    head = DeepLabV2Head(6, 8, dilations=(1, 2, 5)).eval()
    assert [branch[0].kernel_size for branch in head.branches] == [(1, 1), (3, 3), (3, 3)]
    feats = torch.randn(2, 6, 7, 5)
    expected = sum(
        run_branch(branch, feats, dilation)
        for branch, dilation in zip(head.branches, (1, 2, 5), strict=True)
    )
    torch.testing.assert_close(head(feats), expected)
    assert [branch[0].dilation[0] for branch in DeepLabV2Head(6, 8).branches] == [6, 12, 18, 24]


def test_psp_head_concatenates_the_map_and_its_means():
    head = PSPHead(3, 4, pool_scales=(1, 2)).eval()
    feats = torch.randn(2, 3, 4, 6)
    mean, quarters = head.branches
    pooled = F.relu(mean[0](feats.mean(dim=(2, 3), keepdim=True))).expand(-1, -1, 4, 6)
    cells = feats.unflatten(3, (2, 3)).unflatten(2, (2, 2)).mean(dim=(3, 5))
    spread = F.interpolate(run_branch(quarters, cells), (4, 6), mode="bilinear")
    joined = torch.cat([feats, pooled, spread], dim=1)
    torch.testing.assert_close(head(feats), run_branch(head.project, joined))


@pytest.mark.parametrize("separable", [True, False])
def test_deeplabv3plus_head_returns_the_finer_grid(separable):
    head = DeepLabV3PlusHead(
        6, 4, 8, dilations=(1, 2), reduced_channels=3, separable=separable
    ).eval()
    feats, low = torch.randn(2, 6, 3, 4), torch.randn(2, 4, 6, 8)
    output = head(feats, low)
    assert output.shape == (2, 8, 6, 8) and (output >= 0).all()
    # The finer map has a local effect, the image's mean a global one.
    other = low.clone()
    other[:, :, 0, 0] += 10
    changed = (head(feats, other) != output).any(dim=1)
    assert changed[:, :3, :3].any() and not changed[:, 3:].any() and not changed[:, :, 3:].any()
    brighter = feats.clone()
    brighter[:, :, 0, 0] += 1000
    assert (head(brighter, low) != output).any(dim=1).flatten(1).float().mean() > 0.9


@pytest.mark.parametrize(
    "build",
    [
        lambda norm: DeepLabV2Head(6, 8, norm=norm),
        lambda norm: DeepLabV3PlusHead(6, 6, 8, norm=norm),
        lambda norm: PSPHead(6, 8, norm=norm),
    ],
)
def test_heads_have_gradients_and_the_given_norm(build):
    head = build(lambda channels: nn.GroupNorm(2, channels))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in head.modules())
    feats = torch.randn(1, 6, 6, 6)
    maps = (feats, torch.randn(1, 6, 12, 12)) if isinstance(head, DeepLabV3PlusHead) else (feats,)
    head(*maps).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert sum(bool(p.grad.any()) for p in head.parameters()) == len(list(head.parameters()))


def test_heads_train_on_a_single_image():
    maps = torch.randn(1, 6, 4, 4)
    assert PSPHead(6, 8)(maps).isfinite().all()
    assert DeepLabV3PlusHead(6, 6, 8)(maps, torch.randn(1, 6, 8, 8)).isfinite().all()


def test_heads_refuse_dilations_and_scales():
    with pytest.raises(ValueError, match=r"dilations are \(\); give some"):
        DeepLabV2Head(6, 8, dilations=())
    with pytest.raises(ValueError, match=r"dilations are \(0, 2\)"):
        DeepLabV3PlusHead(6, 6, 8, dilations=(0, 2))
    with pytest.raises(ValueError, match=r"pool_scales are \(0,\); give sides"):
        PSPHead(6, 8, pool_scales=(0,))
