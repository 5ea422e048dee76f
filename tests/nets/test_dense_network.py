"""`DenseNetwork`."""

import pytest
import torch
from torch import nn

from ovseg_d2.nets import DenseNetwork

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)


def test_dense_network_normalises_in_the_backbones_order():
    image = torch.tensor([12.0, 24.0, 35.0]).view(1, 3, 1, 1)
    network = DenseNetwork(nn.Identity(), nn.Identity(), mean=MEAN, std=STD, stride=1)
    torch.testing.assert_close(network(image), torch.ones(1, 3, 1, 1))
    blue_first = DenseNetwork(nn.Identity(), nn.Identity(), mean=MEAN, std=STD, stride=1, bgr=True)
    torch.testing.assert_close(blue_first(image.flip(1)), torch.ones(1, 3, 1, 1))
    assert network.state_dict() == {}


def test_dense_network_runs_backbone_then_head():
    backbone, head = nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 5, 1)
    network = DenseNetwork(backbone, head, mean=(0, 0, 0), std=(1, 1, 1), stride=2)
    images = torch.rand(2, 3, 6, 8)
    torch.testing.assert_close(network(images), head(backbone(images)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": (1.0,)}, "give three numbers each"),
        ({"std": (1.0, 0.0, 1.0)}, "give three numbers each"),
        ({"stride": 0}, "stride is 0; give pixels"),
    ],
)
def test_dense_network_refuses(change, message):
    options = {"mean": MEAN, "std": STD, "stride": 4} | change
    with pytest.raises(ValueError, match=message):
        DenseNetwork(nn.Identity(), nn.Identity(), **options)
