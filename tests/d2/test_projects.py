"""The contract of ovseg_d2.d2.projects: holds on detectron2 and on the stand-in alike."""

import random

import numpy as np
import pytest
import torch
from fvcore.transforms.transform import Transform
from torch import nn

from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.layers import ShapeSpec
from ovseg_d2.d2.modeling import BACKBONE_REGISTRY, build_backbone
from ovseg_d2.d2.projects.deeplab import (
    add_deeplab_config,
    build_lr_scheduler,
    build_resnet_deeplab_backbone,
)
from ovseg_d2.d2.solver import LRMultiplier


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


class TestWarmupPolyLR:
    def collect(self, num_steps, **solver):
        cfg = get_cfg()
        add_deeplab_config(cfg)
        cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
        cfg.SOLVER.BASE_LR = 2.0
        cfg.SOLVER.WARMUP_ITERS = 0
        for key, value in solver.items():
            setattr(cfg.SOLVER, key, value)
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        scheduler = build_lr_scheduler(cfg, optimizer)
        rates = [optimizer.param_groups[0]["lr"]]
        for _ in range(num_steps):
            optimizer.step()
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
        return rates

    def test_power_one_is_a_straight_line(self):
        rates = self.collect(4, MAX_ITER=4, POLY_LR_POWER=1.0)
        assert rates == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])

    def test_power(self):
        rates = self.collect(2, MAX_ITER=4)
        assert rates == pytest.approx([2.0, 2 * 0.75**0.9, 2 * 0.5**0.9])

    def test_warmup_multiplies(self):
        rates = self.collect(3, MAX_ITER=4, POLY_LR_POWER=1.0, WARMUP_ITERS=2, WARMUP_FACTOR=0.5)
        assert rates == pytest.approx([1.0, 0.75 * 1.5, 1.0, 0.5])

    def test_constant_warmup(self):
        warmup = {"WARMUP_ITERS": 2, "WARMUP_FACTOR": 0.5, "WARMUP_METHOD": "constant"}
        rates = self.collect(3, MAX_ITER=4, POLY_LR_POWER=1.0, **warmup)
        assert rates == pytest.approx([1.0, 0.75, 1.0, 0.5])

    def test_constant_ending(self):
        rates = self.collect(4, MAX_ITER=4, POLY_LR_POWER=1.0, POLY_LR_CONSTANT_ENDING=0.4)
        assert rates == pytest.approx([2.0, 1.5, 1.0, 0.8, 0.8])

    def test_other_names_are_the_default_builders(self):
        cfg = get_cfg()
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        assert isinstance(build_lr_scheduler(cfg, optimizer), LRMultiplier)

    def test_unknown_warmup(self):
        with pytest.raises(ValueError, match="Unknown warmup method: sudden"):
            self.collect(0, MAX_ITER=4, WARMUP_METHOD="sudden", WARMUP_ITERS=2)

    @pytest.mark.skipif(HAS_DETECTRON2, reason="detectron2 cannot lengthen a poly schedule")
    def test_can_be_resumed_with_a_longer_run(self):
        from ovseg_d2.d2.standin.projects.deeplab import WarmupPolyLR

        def make(max_iters):
            optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
            return WarmupPolyLR(optimizer, max_iters, warmup_iters=0)

        short, long = make(2), make(4)
        for _ in range(2):
            short.optimizer.step()
            short.step()
        assert short.state_dict() == {"base_lrs": [2.0], "last_epoch": 2}
        long.load_state_dict(short.state_dict())
        long.optimizer.step()
        long.step()
        assert long.get_last_lr() == pytest.approx([2 * 0.25**0.9])
        short.step()  # beyond its end
        assert short.get_last_lr() == [0.0]


class TestDeepLabBackbone:
    def test_is_registered(self):
        registered = BACKBONE_REGISTRY.get("build_resnet_deeplab_backbone")
        assert registered is build_resnet_deeplab_backbone

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
        backbone = build_resnet_deeplab_backbone(cfg, ShapeSpec(channels=5))
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


class TestColorAugSSDTransform:
    """Chance is replaced by a list of answers; coins: brightness, order, then the three others."""

    @pytest.fixture
    def make(self, monkeypatch):
        pytest.importorskip("cv2")
        from ovseg_d2.d2.projects.point_rend import ColorAugSSDTransform

        def make(coins, uniform=0.0, shift=0, img_format="BGR"):
            answers = iter(coins)
            monkeypatch.setattr(random, "randrange", lambda stop: next(answers))
            monkeypatch.setattr(random, "uniform", lambda low, high: uniform)
            monkeypatch.setattr(random, "randint", lambda low, high: shift)
            return ColorAugSSDTransform(img_format)

        return make

    def apply(self, transform, *pixel):
        img = np.full((2, 3, 3), pixel, dtype=np.uint8)
        out = transform.apply_image(img)
        assert out.dtype == np.uint8 and out.shape == img.shape
        assert (img == pixel).all()
        return out[0, 0].tolist()

    def test_no_change(self, make):
        assert self.apply(make([0, 0, 0, 0, 0]), 10, 20, 30) == [10, 20, 30]

    def test_brightness_is_added_and_clipped(self, make):
        transform = make([1, 0, 0, 0, 0], uniform=30)
        assert self.apply(transform, 10, 100, 250) == [40, 130, 255]

    @pytest.mark.parametrize("coins", [[0, 1, 1, 0, 0], [0, 0, 0, 0, 1]])
    def test_contrast_multiplies_first_or_last(self, make, coins):
        assert self.apply(make(coins, uniform=1.5), 10, 100, 250) == [15, 150, 255]

    @pytest.mark.parametrize("img_format", ["BGR", "RGB"])
    def test_no_saturation_is_grey_of_the_largest_channel(self, make, img_format):
        transform = make([0, 0, 1, 0, 0], uniform=0.0, img_format=img_format)
        assert self.apply(transform, 10, 20, 200) == [200, 200, 200]

    @pytest.mark.parametrize(
        ("img_format", "red", "blue"),
        [("BGR", (0, 0, 255), [255, 0, 0]), ("RGB", (255, 0, 0), [0, 0, 255])],
    )
    def test_two_thirds_of_the_circle_make_red_blue(self, make, img_format, red, blue):
        transform = make([0, 0, 0, 1, 0], shift=120, img_format=img_format)
        assert self.apply(transform, *red) == blue

    def test_hue_goes_round(self, make):
        # 300 degrees (magenta) and 120 further is 60 (yellow), given as BGR.
        assert self.apply(make([0, 0, 0, 1, 0], shift=60), 255, 0, 255) == [0, 255, 255]
        # And from red 60 degrees back is magenta.
        assert self.apply(make([0, 0, 0, 1, 0], shift=-30), 0, 0, 255) == [255, 0, 255]

    def test_nothing_else_is_touched(self, make):
        transform = make([])
        assert isinstance(transform, Transform)
        labels = np.arange(6).reshape(2, 3)
        assert transform.apply_segmentation(labels) is labels
        coords = np.array([[1.0, 2.0]])
        np.testing.assert_array_equal(transform.apply_coords(coords), coords)

    def test_format(self, make):
        with pytest.raises(AssertionError):
            make([], img_format="HSV")

    def test_in_earnest(self):
        pytest.importorskip("cv2")
        from ovseg_d2.d2.projects.point_rend import ColorAugSSDTransform

        img = np.random.randint(0, 256, (5, 7, 3), dtype=np.uint8)
        transform = ColorAugSSDTransform("RGB")
        outs = [transform.apply_image(img) for _ in range(20)]
        assert all(out.shape == img.shape and out.dtype == np.uint8 for out in outs)
        assert len({out.tobytes() for out in outs}) > 5
