"""Contract of ovseg_d2.d2.projects, with detectron2 and with the stand-in."""

import pytest
import torch

from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.layers import ShapeSpec
from ovseg_d2.d2.modeling import build_backbone
from ovseg_d2.d2.projects.deeplab import add_deeplab_config


def make_cfg(**resnets):
    cfg = get_cfg()
    add_deeplab_config(cfg)
    cfg.MODEL.BACKBONE.NAME = "build_resnet_deeplab_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 8
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 4
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    for key, value in resnets.items():
        setattr(cfg.MODEL.RESNETS, key, value)
    return cfg


def test_add_deeplab_config():
    cfg = get_cfg()
    add_deeplab_config(cfg)
    assert cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA == 1.0
    assert (cfg.SOLVER.POLY_LR_POWER, cfg.SOLVER.POLY_LR_CONSTANT_ENDING) == (0.9, 0.0)
    head = cfg.MODEL.SEM_SEG_HEAD
    assert head.LOSS_TYPE == "hard_pixel_mining"
    assert (head.PROJECT_FEATURES, head.PROJECT_CHANNELS) == (["res2"], [48])
    assert (head.ASPP_CHANNELS, head.ASPP_DILATIONS, head.ASPP_DROPOUT) == (256, [6, 12, 18], 0.1)
    assert head.USE_DEPTHWISE_SEPARABLE_CONV is False
    resnets = cfg.MODEL.RESNETS
    assert (resnets.RES4_DILATION, resnets.RES5_MULTI_GRID) == (1, [1, 2, 4])
    assert resnets.STEM_TYPE == "deeplab"


class TestDeepLabBackbone:
    def test_stem(self):
        stem = build_backbone(make_cfg(STEM_OUT_CHANNELS=12)).stem
        weights = {k: tuple(v.shape) for k, v in stem.state_dict().items() if v.dim() == 4}
        assert weights == {
            "conv1.weight": (6, 3, 3, 3),
            "conv2.weight": (6, 6, 3, 3),
            "conv3.weight": (12, 6, 3, 3),
        }
        assert stem(torch.zeros(1, 3, 33, 40)).shape == (1, 12, 9, 10)
        assert (stem.stride, stem.out_channels) == (4, 12)

    def test_stem_value(self):
        """Convolutions that scale channel 0 by 1, 2, 3 leave ReLU, stride 2 and max-pooling."""
        stem = build_backbone(make_cfg(NORM="")).stem
        with torch.no_grad():
            for factor, conv in enumerate((stem.conv1, stem.conv2, stem.conv3), start=1):
                conv.weight.zero_()
                conv.weight[0, 0, 1, 1] = factor
        x = torch.zeros(1, 3, 8, 8)
        x[0, 0, ::2, ::2] = torch.arange(16.0).reshape(4, 4) - 5
        # Of -5..10, windows 3 x 3 around 0 and 2, times 6.
        expected = torch.tensor([[0.0, 12.0], [48.0, 60.0]])
        torch.testing.assert_close(stem(x)[0, 0], expected)

    def test_basic_stem(self):
        stem = build_backbone(make_cfg(STEM_TYPE="basic")).stem
        assert stem.conv1.weight.shape == (8, 3, 7, 7)

    @pytest.mark.parametrize(
        ("res4", "res5", "strides", "dilations"),
        [
            (1, 1, [4, 8, 16, 32], [1, 2, 4]),
            (1, 2, [4, 8, 16, 16], [2, 4, 8]),
            (2, 4, [4, 8, 8, 8], [4, 8, 16]),
        ],
    )
    def test_dilation(self, res4, res5, strides, dilations):
        backbone = build_backbone(make_cfg(RES4_DILATION=res4, RES5_DILATION=res5))
        assert [shape.stride for shape in backbone.output_shape().values()] == strides
        assert [block.conv2.dilation[0] for block in backbone.res5] == dilations
        assert {block.conv2.dilation[0] for block in backbone.res4} == {res4}
        for feats, stride in zip(
            backbone(torch.zeros(1, 3, 64, 64)).values(), strides, strict=True
        ):
            assert feats.shape[-1] == 64 // stride

    def test_multi_grid(self):
        backbone = build_backbone(make_cfg(RES5_DILATION=2, RES5_MULTI_GRID=[1, 1, 3]))
        assert [block.conv2.dilation[0] for block in backbone.res5] == [2, 2, 6]

    def test_input_channels_and_freezing(self):
        cfg = make_cfg(OUT_FEATURES=["res3"])
        cfg.MODEL.BACKBONE.FREEZE_AT = 1
        backbone = build_backbone(cfg, ShapeSpec(channels=5))
        assert backbone.stem.conv1.in_channels == 5
        assert not any(p.requires_grad for p in backbone.stem.parameters())
        assert all(p.requires_grad for p in backbone.res2.parameters())
        assert not hasattr(backbone, "res4")

    @pytest.mark.parametrize(
        ("resnets", "error", "message"),
        [
            ({"STEM_TYPE": "odd"}, ValueError, "Unknown stem type: odd"),
            ({"RES4_DILATION": 4}, AssertionError, "res4_dilation cannot be 4"),
            ({"RES5_DILATION": 3}, AssertionError, "res5_dilation cannot be 3"),
            ({"RES4_DILATION": 2, "RES5_DILATION": 2}, AssertionError, None),
            ({"RES5_MULTI_GRID": [1, 2]}, AssertionError, None),
        ],
    )
    def test_refuses(self, resnets, error, message):
        with pytest.raises(error, match=message):
            build_backbone(make_cfg(**resnets))
