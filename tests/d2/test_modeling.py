"""Contract of ovseg_d2.d2.modeling, with detectron2 and with the stand-in."""

import re

import pytest
import torch
import torchvision
from torch import nn

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.layers import ShapeSpec
from ovseg_d2.d2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    Backbone,
    build_backbone,
    build_model,
)
from ovseg_d2.d2.projects.deeplab import add_deeplab_config

STAGES = ["res2", "res3", "res4", "res5"]


@BACKBONE_REGISTRY.register()
class ContractBackbone(Backbone):
    def __init__(self, cfg, input_shape):
        super().__init__()
        self.input_shape = input_shape
        self._out_features = ["a"]
        self._out_feature_channels = {"a": 7, "b": 8}
        self._out_feature_strides = {"a": 16, "b": 32}

    def forward(self, x):
        return {"a": x}


@BACKBONE_REGISTRY.register()
def build_contract_linear(cfg, input_shape):
    return nn.Linear(1, 1)


@META_ARCH_REGISTRY.register()
class ContractModel(nn.Linear):
    def __init__(self, cfg):
        super().__init__(cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, 1)


@SEM_SEG_HEADS_REGISTRY.register()
class ContractHead(nn.Module):
    def __init__(self, cfg, input_shape):
        super().__init__()
        self.input_shape = input_shape


def make_resnet_cfg(deeplab=False, small=True, **resnets):
    cfg = get_cfg()
    add_deeplab_config(cfg)
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.BACKBONE.NAME = (
        "build_resnet_deeplab_backbone" if deeplab else "build_resnet_backbone"
    )
    if small:
        cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 8
        cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
        cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 4
    cfg.MODEL.RESNETS.OUT_FEATURES = STAGES
    for key, value in resnets.items():
        setattr(cfg.MODEL.RESNETS, key, value)
    return cfg


def randomize(module):
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var") or re.search(r"norm\.weight$", name):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + 0.75)
        elif "norm" in name and tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return module


class TestBuilders:
    def test_backbone(self):
        cfg = get_cfg()
        cfg.MODEL.BACKBONE.NAME = "ContractBackbone"
        backbone = build_backbone(cfg)
        assert backbone.input_shape == ShapeSpec(channels=3)
        assert build_backbone(cfg, ShapeSpec(channels=5)).input_shape.channels == 5
        assert backbone.output_shape() == {"a": ShapeSpec(channels=7, stride=16)}
        assert backbone.size_divisibility == 0

    def test_backbone_must_be_one(self):
        cfg = get_cfg()
        cfg.MODEL.BACKBONE.NAME = "build_contract_linear"
        with pytest.raises(AssertionError):
            build_backbone(cfg)

    def test_backbone_needs_forward(self):
        class Half(Backbone):
            pass

        with pytest.raises(TypeError, match="abstract"):
            Half()

    def test_model_goes_to_the_device(self):
        cfg = get_cfg()
        cfg.MODEL.META_ARCHITECTURE = "ContractModel"
        cfg.MODEL.DEVICE = "meta"
        model = build_model(cfg)
        assert model.weight.device.type == "meta"
        assert model.in_features == 54

    @pytest.mark.parametrize(
        ("registry", "name"),
        [
            (BACKBONE_REGISTRY, "ContractBackbone"),
            (META_ARCH_REGISTRY, "ContractModel"),
            (SEM_SEG_HEADS_REGISTRY, "ContractHead"),
        ],
    )
    def test_registries(self, registry, name):
        assert name in registry
        with pytest.raises(AssertionError, match=name):
            registry.register(registry.get(name))
        with pytest.raises(KeyError, match="NoSuchName"):
            registry.get("NoSuchName")


class TestResNet:
    def test_agrees_with_torchvision(self):
        cfg = make_resnet_cfg(small=False, NORM="BN", STRIDE_IN_1X1=False)
        ours = randomize(build_backbone(cfg, ShapeSpec(channels=3))).eval()
        theirs = torchvision.models.resnet50(weights=None).eval()
        renamed = {}
        for name, value in ours.state_dict().items():
            name = name.removeprefix("stem.")
            name = re.sub(r"^res(\d)", lambda match: f"layer{int(match[1]) - 1}", name)
            name = name.replace("shortcut.norm", "downsample.1").replace("shortcut", "downsample.0")
            renamed[re.sub(r"conv(\d)\.norm", r"bn\1", name)] = value
        keys = theirs.load_state_dict(renamed, strict=False)
        assert set(keys.missing_keys) == {"fc.weight", "fc.bias"} and not keys.unexpected_keys

        x = torch.randn(1, 3, 64, 96)
        with torch.no_grad():
            outputs = ours(x)
            y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
            for name, layer in zip(
                STAGES, (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True
            ):
                y = layer(y)
                torch.testing.assert_close(outputs[name], y, rtol=1e-4, atol=1e-4)

    def test_shapes(self):
        cfg = get_cfg()
        cfg.MODEL.RESNETS.OUT_FEATURES = ["stem", *STAGES]
        backbone = build_backbone(cfg)
        shape = {name: (s.channels, s.stride) for name, s in backbone.output_shape().items()}
        assert shape == {
            "stem": (64, 4),
            "res2": (256, 4),
            "res3": (512, 8),
            "res4": (1024, 16),
            "res5": (2048, 32),
        }
        for name, feats in backbone(torch.zeros(1, 3, 65, 70)).items():
            channels, stride = shape[name]
            assert feats.shape == (1, channels, -(-65 // stride), -(-70 // stride))

    def test_unread_stages_are_left_out(self):
        backbone = build_backbone(make_resnet_cfg(OUT_FEATURES=["res3"]))
        assert {name.split(".")[0] for name, _ in backbone.named_parameters()} == {
            *("stem", "res2", "res3")
        }
        assert list(backbone(torch.zeros(1, 3, 32, 32))) == ["res3"]

    @pytest.mark.parametrize(("depth", "num_blocks"), [(50, [3, 4, 6, 3]), (101, [3, 4, 23, 3])])
    def test_depth(self, depth, num_blocks):
        backbone = build_backbone(make_resnet_cfg(DEPTH=depth))
        assert [len(getattr(backbone, name)) for name in STAGES] == num_blocks

    @pytest.mark.parametrize("in_1x1", [True, False])
    def test_where_a_block_strides(self, in_1x1):
        block = build_backbone(make_resnet_cfg(STRIDE_IN_1X1=in_1x1)).res3[0]
        assert block.conv1.stride == ((2, 2) if in_1x1 else (1, 1))
        assert block.conv2.stride == ((1, 1) if in_1x1 else (2, 2))
        assert block.shortcut.stride == (2, 2)

    def test_dilated_res5(self):
        backbone = build_backbone(make_resnet_cfg(RES5_DILATION=2))
        assert backbone.output_shape()["res5"].stride == 16
        assert [block.conv2.dilation for block in backbone.res5] == [(2, 2)] * 3
        assert backbone(torch.zeros(1, 3, 64, 64))["res5"].shape[-2:] == (4, 4)

    def test_freezing(self):
        cfg = make_resnet_cfg(NORM="BN")
        cfg.MODEL.BACKBONE.FREEZE_AT = 2
        backbone = build_backbone(cfg)
        trained = {n.split(".")[0] for n, p in backbone.named_parameters() if p.requires_grad}
        assert trained == {"res3", "res4", "res5"}
        assert type(backbone.stem.conv1.norm).__name__ == "FrozenBatchNorm2d"
        assert type(backbone.res2[0].conv3.norm).__name__ == "FrozenBatchNorm2d"
        assert isinstance(backbone.res3[0].conv3.norm, nn.BatchNorm2d)
        backbone(torch.rand(2, 3, 64, 64))["res5"].sum().backward()
        assert backbone.res2[0].conv1.weight.grad is None
        assert backbone.res3[0].conv1.weight.grad.abs().sum() > 0

    def test_initial_weights_keep_the_variance_of_gradients(self):
        weight = build_backbone(get_cfg()).stem.conv1.weight
        assert weight.std().item() == pytest.approx((2 / (64 * 7 * 7)) ** 0.5, rel=0.05)
        assert weight.mean().item() == pytest.approx(0.0, abs=0.002)

    def test_groups(self):
        backbone = build_backbone(make_resnet_cfg(NUM_GROUPS=2))
        assert backbone.res2[0].conv2.groups == 2
        assert backbone.res2[0].conv2.weight.shape == (8, 4, 3, 3)

    def test_refuses(self):
        with pytest.raises(AssertionError, match="res5_dilation cannot be 4"):
            build_backbone(make_resnet_cfg(RES5_DILATION=4))
        with pytest.raises(AssertionError, match="Available children"):
            build_backbone(make_resnet_cfg(OUT_FEATURES=["res6"]))
        with pytest.raises(AssertionError, match="takes an input of shape"):
            build_backbone(make_resnet_cfg())(torch.zeros(3, 8, 8))


CASES = {
    "r50": {"deeplab": False},
    "r50, batch norm": {"deeplab": False, "NORM": "BN"},
    "r50, dilated": {"deeplab": False, "RES5_DILATION": 2, "STRIDE_IN_1X1": False},
    "r101": {"deeplab": False, "DEPTH": 101, "OUT_FEATURES": ["res4"]},
    "r101c, stride 16": {
        "deeplab": True,
        "DEPTH": 101,
        "STRIDE_IN_1X1": False,
        "RES5_DILATION": 2,
        "NORM": "SyncBN",
    },
    "r50c, stride 8": {"deeplab": True, "RES4_DILATION": 2, "RES5_DILATION": 4, "NORM": "BN"},
    "r50, basic stem": {"deeplab": True, "STEM_TYPE": "basic", "RES5_MULTI_GRID": [1, 1, 1]},
}


@pytest.mark.skipif(not HAS_DETECTRON2, reason="compares the stand-in with detectron2")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("freeze_at", [0, 2])
def test_stand_in_agrees_with_detectron2(case, freeze_at):
    from ovseg_d2.d2.standin.modeling.resnet import build_resnet_backbone as build_plain
    from ovseg_d2.d2.standin.projects.deeplab import build_resnet_deeplab_backbone as build_deeplab

    arguments = CASES[case]
    cfg = make_resnet_cfg(**arguments)
    cfg.MODEL.BACKBONE.FREEZE_AT = freeze_at
    theirs = randomize(build_backbone(cfg)).eval()
    ours = (build_deeplab if arguments["deeplab"] else build_plain)(cfg, ShapeSpec(channels=3))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    shapes = [
        {name: (s.channels, s.stride) for name, s in net.output_shape().items()}
        for net in (ours.eval(), theirs)
    ]
    assert shapes[0] == shapes[1]
    assert [p.requires_grad for p in ours.parameters()] == [
        p.requires_grad for p in theirs.parameters()
    ]
    x = torch.randn(2, 3, 45, 64)
    with torch.no_grad():
        for name, feats in theirs(x).items():
            torch.testing.assert_close(ours(x)[name], feats, rtol=1e-4, atol=1e-5)
