"""Contract of ovseg_d2.d2.layers, with detectron2 and with the stand-in."""

import pytest
import torch
from torch import nn

from ovseg_d2.d2.layers import ShapeSpec, get_norm

FrozenBatchNorm2d = type(get_norm("FrozenBN", 1))


def randomize(module):
    """Give every parameter and buffer a value of its own; variances stay positive."""
    generator = torch.Generator().manual_seed(0)
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


def test_shape_spec():
    assert ShapeSpec(channels=3) == ShapeSpec(3, None, None, None)
    assert ShapeSpec(channels=3, stride=4) != ShapeSpec(channels=3)
    assert ShapeSpec(1, 2, 3, 4).stride == 4


class TestFrozenBatchNorm2d:
    def test_begins_as_identity(self):
        x = torch.randn(2, 4, 3, 3)
        torch.testing.assert_close(FrozenBatchNorm2d(4)(x), x)

    @pytest.mark.parametrize("requires_grad", [False, True])
    def test_value_by_hand(self, requires_grad):
        norm = FrozenBatchNorm2d(1, eps=0.0)
        state = {"weight": [3.0], "bias": [1.0], "running_mean": [2.0], "running_var": [4.0]}
        norm.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
        x = torch.full((1, 1, 1, 1), 6.0, requires_grad=requires_grad)
        assert norm(x).item() == pytest.approx(7.0)  # (6 - 2) / sqrt(4) * 3 + 1

    def test_nothing_changes_in_training(self):
        norm = randomize(FrozenBatchNorm2d(4)).train()
        before = {name: value.clone() for name, value in norm.state_dict().items()}
        x = torch.rand(2, 4, 3, 3, requires_grad=True)
        norm(x).sum().backward()
        assert not list(norm.parameters())
        assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        torch.testing.assert_close(x.grad, scale[:, None, None].expand(2, 4, 3, 3))

    def test_keys(self):
        assert list(FrozenBatchNorm2d(4).state_dict()) == [
            *("weight", "bias", "running_mean", "running_var")
        ]

    def test_keeps_half_precision(self):
        norm = FrozenBatchNorm2d(2)
        x = torch.rand(1, 2, 2, 2, dtype=torch.bfloat16, requires_grad=True)
        assert norm(x).dtype == torch.bfloat16

    def test_convert(self):
        module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=0.1)))
        randomize(module).eval()
        x = torch.rand(2, 3, 4, 4)
        expected = module(x)
        converted = FrozenBatchNorm2d.convert_frozen_batchnorm(module)
        assert converted is module
        torch.testing.assert_close(module.train()(x), expected)
        assert "1.0.num_batches_tracked" in module.state_dict()


class TestGetNorm:
    def test_by_name(self):
        norms = {"BN": nn.BatchNorm2d, "SyncBN": nn.SyncBatchNorm}
        for name, expected in norms.items():
            layer = get_norm(name, 64)
            assert isinstance(layer, expected) and layer.weight.shape == (64,)
        assert (get_norm("GN", 64).num_groups, get_norm("GN", 64).num_channels) == (32, 64)
        assert get_norm("", 8) is None

    def test_layer_norm_is_over_channels(self):
        layer = randomize(get_norm("LN", 5))
        assert set(layer.state_dict()) == {"weight", "bias"}
        x = torch.rand(2, 5, 3, 4)
        mean = x.mean(dim=1, keepdim=True)
        std = (x.var(dim=1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        expected = (x - mean) / std * layer.weight[:, None, None] + layer.bias[:, None, None]
        torch.testing.assert_close(layer(x), expected)

    def test_unknown(self):
        with pytest.raises(KeyError):
            get_norm("XN", 8)
