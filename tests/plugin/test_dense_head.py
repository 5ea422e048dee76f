"""Heads and networks by name: on any backbone, with strides that fit."""

import pytest
import torch

from ovseg_d2.d2.layers import ShapeSpec
from ovseg_d2.d2.modeling import SEM_SEG_HEADS_REGISTRY, build_backbone
from ovseg_d2.nets import DeepLabV2Head, DeepLabV3PlusHead, PSPHead
from ovseg_d2.plugin.dense_head import build_dense_network

TIMM = (
    *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME", "test_resnet"),
    *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res5']", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
)
HEADS = {
    "OVSegDeepLabV2Head": (DeepLabV2Head, 32),
    "OVSegPSPHead": (PSPHead, 32),
    "OVSegDeepLabV3PlusHead": (DeepLabV3PlusHead, 4),
}


@pytest.fixture
def network(tiny_cfg):
    """Give a function from keys and values to a network of 16 channels."""

    def make(*opts):
        cfg = tiny_cfg(*opts)
        return build_dense_network(cfg, build_backbone(cfg), 16)

    return make


@pytest.mark.parametrize("name", HEADS)
def test_heads_on_a_timm_backbone(network, name):
    kind, stride = HEADS[name]
    assert name in SEM_SEG_HEADS_REGISTRY
    built = network(*TIMM, "MODEL.SEM_SEG_HEAD.NAME", name).eval()
    assert isinstance(built.head.layers, kind) and built.stride == stride
    features = built(torch.rand(2, 3, 40, 72))
    assert features.shape == (2, 16, -(-40 // stride), -(-72 // stride))


def test_options_reach_the_head(network):
    opts = (*TIMM, "MODEL.SEM_SEG_HEAD.NAME")
    v2 = network(*opts, "OVSegDeepLabV2Head", "MODEL.DENSE_HEAD.DILATIONS", "[1, 3]").head.layers
    assert [branch[0].dilation for branch in v2.branches] == [(1, 1), (3, 3)]
    psp = network(*opts, "OVSegPSPHead", "MODEL.DENSE_HEAD.POOL_SCALES", "[2]").head.layers
    assert psp.pool_scales == (2,)
    plus = network(
        *opts,
        *("OVSegDeepLabV3PlusHead", "MODEL.DENSE_HEAD.LOW_CHANNELS", "7"),
        *("MODEL.DENSE_HEAD.SEPARABLE", "False", "MODEL.SEM_SEG_HEAD.NORM", ""),
    ).head.layers
    assert plus.reduce[0].out_channels == 7 and plus.fuse[0][0].groups == 1
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in plus.modules())


def test_pixel_statistics_of_detectron2_and_timm(network):
    resnet = (
        *("MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.BACKBONE.FREEZE_AT", "0"),
        *("MODEL.RESNETS.NORM", "BN", "MODEL.RESNETS.STEM_OUT_CHANNELS", "8"),
        *("MODEL.RESNETS.RES2_OUT_CHANNELS", "8", "MODEL.RESNETS.WIDTH_PER_GROUP", "4"),
        *("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head", "MODEL.SEM_SEG_HEAD.NORM", "BN"),
        *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res4']", "INPUT.FORMAT", "BGR"),
    )
    built = network(*resnet)
    assert built.bgr and built.stride == 16
    assert built.mean.flatten().tolist() == pytest.approx([103.53, 116.28, 123.675])
    assert built.eval()(torch.rand(1, 3, 32, 48)).shape == (1, 16, 2, 3)
    timm = network(*TIMM, "MODEL.SEM_SEG_HEAD.NAME", "OVSegPSPHead")
    expected = [255 * value for value in timm.backbone.network.mean]
    assert timm.mean.flatten().tolist() == pytest.approx(expected) and not timm.bgr


def test_unused_parameters_are_frozen(network):
    head = ("MODEL.SEM_SEG_HEAD.NAME", "OVSegPSPHead")
    built = network(*TIMM, *head, "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res3']").train()
    built(torch.rand(2, 3, 32, 32)).sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    assert any(not p.requires_grad for p in built.backbone.parameters())


@pytest.mark.parametrize(
    ("opts", "words"),
    [
        (("MODEL.SEM_SEG_HEAD.NAME", "SemSegFPNHead"), "gives no features for text .* OVSegDeepLa"),
        (("MODEL.SEM_SEG_HEAD.NAME", "Nowhere"), "'Nowhere' gives no features"),
        (
            ("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res7']"),
            "IN_FEATURES has 'res7', and the backbone gives res",
        ),
        (("MODEL.SEM_SEG_HEAD.IN_FEATURES", "[]"), "IN_FEATURES is empty"),
        (
            (
                *("MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV3PlusHead"),
                *("MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res5']"),
            ),
            "DeepLabv3. takes two maps, the finer one first",
        ),
        (("MODEL.SEM_SEG_HEAD.NAME", "OVSegNoHead"), "takes features of the joint space, which"),
        (("MODEL.TIMM.OUTPUT_STRIDE", "5"), "OUTPUT_STRIDE is 5; it takes one of 0, 8, 16, 32"),
        (
            (
                *("INPUT.CROP.ENABLED", "True", "INPUT.CROP.TYPE", "absolute"),
                *("INPUT.CROP.SIZE", "[64, 72]"),
            ),
            r"CROP.SIZE is \[64, 72\], and the network's stride of 32 .* set it to \[64, 96\]",
        ),
    ],
)
def test_bad_values(network, opts, words):
    with pytest.raises(ValueError, match=words):
        network(*TIMM, "MODEL.SEM_SEG_HEAD.NAME", "OVSegDeepLabV2Head", *opts)


def test_head_is_built_from_shape_specs(tiny_cfg):
    cfg = tiny_cfg(*TIMM, "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res5']")
    kind = SEM_SEG_HEADS_REGISTRY.get("OVSegDeepLabV2Head")
    head = kind(cfg, {"res5": ShapeSpec(channels=3, stride=16)}, out_channels=5)
    assert head.stride == 16 and head({"res5": torch.rand(2, 3, 4, 4)}).shape == (2, 5, 4, 4)
