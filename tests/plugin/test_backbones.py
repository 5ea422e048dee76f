"""CLIP towers and networks of timm as detectron2's backbones."""

import json

import pytest
import timm
import torch
from torch import nn

from ovseg_d2.clip import encode_stages
from ovseg_d2.d2 import HAS_DETECTRON2
from ovseg_d2.d2.config import configurable
from ovseg_d2.d2.layers import ShapeSpec
from ovseg_d2.d2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone, build_model
from ovseg_d2.nets import SwinFeatures, build_timm_features
from ovseg_d2.plugin.backbones import OVSegCLIPBackbone, OVSegTimmBackbone

CLIP = ("MODEL.BACKBONE.NAME", "OVSegCLIPBackbone")
TIMM = ("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.NAME")
# Kinds of towers: what changes in the tiny config, and the maps as (channels, stride).
TOWERS = {
    "vit": ({}, {"clip_tokens": (32, 8), "clip_dense": (32, 8)}),
    "resnet": (
        {"layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "image_size": 64},
        {
            **{"res2": (16, 4), "res3": (32, 8), "res4": (64, 16), "res5": (128, 32)},
            "clip_dense": (32, 32),
        },
    ),
    "convnext": (
        {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"},
        {
            **{"res2": (24, 4), "res3": (32, 8), "res4": (48, 16), "res5": (64, 32)},
            "clip_dense": (32, 32),
        },
    ),
}
SIZES = [(64, 96), (50, 71)]


@META_ARCH_REGISTRY.register()
class BackboneTestModel(nn.Module):
    """A minimal model on a backbone."""

    @configurable
    def __init__(self, *, backbone: Backbone):
        super().__init__()
        self.backbone = backbone

    @classmethod
    def from_config(cls, cfg):
        return {"backbone": build_backbone(cfg)}

    def forward(self, images):
        multiple = max(self.backbone.size_divisibility, 1)
        height, width = (
            -(-max(image.shape[axis] for image in images) // multiple) * multiple for axis in (1, 2)
        )
        batch = torch.zeros(len(images), 3, height, width)
        for padded, image in zip(batch, images, strict=True):
            padded[:, : image.shape[1], : image.shape[2]] = image
        return self.backbone(batch)


@pytest.fixture
def kind_cfg(tiny_cfg, tiny_clip_config, tmp_path):
    """Give a function from a kind of tower, and further keys, to a config of a backbone on it."""

    def make(kind, *opts):
        path = tmp_path / f"{kind}.json"
        vision = {**tiny_clip_config["vision_cfg"], **TOWERS[kind][0]}
        path.write_text(json.dumps({**tiny_clip_config, "vision_cfg": vision}), encoding="utf-8")
        return tiny_cfg("MODEL.CLIP.NAME", str(path), *CLIP, *opts)

    return make


def shapes_of(backbone):
    return {name: (shape.channels, shape.stride) for name, shape in backbone.output_shape().items()}


def check_maps(backbone, size):
    """Check the maps of images of a size against `output_shape`."""
    maps = backbone(torch.randn(2, 3, *size))
    assert list(maps) == list(backbone.output_shape())
    for name, (channels, stride) in shapes_of(backbone).items():
        rows, columns = (-(-side // stride) for side in size)
        assert maps[name].shape == (2, channels, rows, columns), name


# --- CLIP


@torch.no_grad()
@pytest.mark.parametrize("kind", TOWERS)
def test_clip_backbone_maps_have_their_output_shape(kind_cfg, kind):
    backbone = build_backbone(kind_cfg(kind)).eval()
    assert isinstance(backbone, OVSegCLIPBackbone)
    assert shapes_of(backbone) == TOWERS[kind][1]
    assert backbone.size_divisibility == (8 if kind == "vit" else 32)
    for size in SIZES:
        check_maps(backbone, size)


@torch.no_grad()
@pytest.mark.parametrize("kind", TOWERS)
def test_clip_backbone_maps_are_the_towers_stages(kind_cfg, kind):
    block = "class_token" if kind == "vit" else "own"
    backbone = build_backbone(kind_cfg(kind, "MODEL.CLIP.LAST_BLOCK.RESIDUAL", block)).eval()
    images = torch.randn(2, 3, 50, 71)
    maps = backbone(images)
    stages, dense = encode_stages(backbone.tower, images, backbone._last_block)
    assert backbone._last_block.residual == block
    for feats, expected in zip(maps.values(), [*stages, dense], strict=True):
        assert torch.equal(feats, expected)
    assert torch.equal(maps["clip_dense"], backbone.tower.dense_feats(images, backbone._last_block))


def test_clip_backbone_freezes_unused_parameters(kind_cfg):
    opts = ("MODEL.CLIP_BACKBONE.OUT_FEATURES", "['p2', 'res4']")
    backbone = build_backbone(kind_cfg("resnet", *opts))
    assert backbone.training
    trained = {n for n, p in backbone.tower.model.named_parameters() if p.requires_grad}
    whole = {n for n, _ in backbone.tower.model.named_parameters()}
    early = ("visual.conv", "visual.bn", "visual.layer1", "visual.layer2", "visual.layer3")
    assert trained == {name for name in whole if name.startswith(early)}
    maps = backbone(torch.randn(2, 3, 64, 64))
    assert list(maps) == ["p2", "res4"]
    sum(feats.sum() for feats in maps.values()).backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_frozen_backbone_does_not_change(kind_cfg, tiny_cfg):
    for backbone in (
        build_backbone(kind_cfg("resnet", "MODEL.CLIP_BACKBONE.FROZEN", "True")),
        build_backbone(tiny_cfg(*TIMM, "test_resnet", "MODEL.TIMM.FROZEN", "True")),
    ):
        before = {name: value.clone() for name, value in backbone.state_dict().items()}
        assert backbone.train() is backbone
        assert not any(module.training for module in backbone.modules())
        maps = backbone(torch.randn(2, 3, 64, 64))
        assert not any(feats.requires_grad for feats in maps.values())
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_clip_backbone_refuses_one_channel(kind_cfg):
    cfg = kind_cfg("vit")
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [0.5], [0.5]
    with pytest.raises(ValueError, match=r"images have 1 channels.*MODEL\.PIXEL_MEAN"):
        build_backbone(cfg)


# --- timm


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "maps"),
    [
        (
            "test_resnet",
            {
                "res1": (32, 2),
                "res2": (32, 4),
                "res3": (48, 8),
                "res4": (192, 16),
                "res5": (96, 32),
            },
        ),
        ("test_mambaout", {"res2": (16, 4), "res3": (32, 8), "res4": (48, 16), "res5": (64, 32)}),
        ("test_vit", {"res4_3": (64, 16), "res4_4": (64, 16), "res4_5": (64, 16)}),
    ],
)
def test_timm_backbone_maps_have_their_output_shape(tiny_cfg, name, maps):
    backbone = build_backbone(tiny_cfg(*TIMM, name)).eval()
    assert isinstance(backbone, OVSegTimmBackbone)
    assert shapes_of(backbone) == maps
    assert backbone.size_divisibility == (16 if name == "test_vit" else 32)
    for size in SIZES:
        check_maps(backbone, size)
    images = torch.randn(2, 3, 50, 71)
    for feats, expected in zip(backbone(images).values(), backbone.network(images), strict=True):
        assert torch.equal(feats, expected)


def test_map_names_of_other_strides():
    with torch.device("meta"):
        network = build_timm_features("eva02_tiny_patch14_224", out_indices=(-1,))
        assert list(OVSegTimmBackbone(network=network).output_shape()) == ["stride14"]


@torch.no_grad()
def test_timm_keys_reach_the_network(tiny_cfg, tmp_path):
    whole = timm.create_model("test_resnet")
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    cfg = tiny_cfg(
        *(*TIMM, "test_resnet", "MODEL.TIMM.PRETRAINED", str(tmp_path / "weights.pth")),
        *("MODEL.TIMM.OUT_INDICES", "[1, 2]", "MODEL.TIMM.OUT_FEATURES", "['p3']"),
        *("MODEL.TIMM.SIZE_DIVISIBILITY", "64"),
    )
    backbone = build_backbone(cfg)
    assert shapes_of(backbone) == {"p3": (48, 8)}
    assert backbone.size_divisibility == 64
    assert backbone.network.indices == (1, 2)
    weights = backbone.network.network.state_dict()
    assert torch.equal(weights["conv1.0.weight"], whole.state_dict()["conv1.0.weight"])


@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet"])  # the latter's norms activate
def test_timm_norm_syncbn_replaces_batch_norms(tiny_cfg, name):
    images = torch.randn(2, 3, 64, 64)
    torch.manual_seed(0)
    plain = build_backbone(tiny_cfg(*TIMM, name))
    torch.manual_seed(0)
    synced = build_backbone(tiny_cfg(*TIMM, name, "MODEL.TIMM.NORM", "SyncBN"))
    norms = [m for m in synced.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    for first, second in zip(plain(images).values(), synced(images).values(), strict=True):
        torch.testing.assert_close(first, second)
    with pytest.raises(ValueError, match="TIMM.NORM is 'LN'; it takes one of '', 'SyncBN'"):
        build_backbone(tiny_cfg(*TIMM, name, "MODEL.TIMM.NORM", "LN"))


@torch.no_grad()
def test_timm_in_channels(tiny_cfg):
    cfg = tiny_cfg(*TIMM, "test_convnext")
    four = build_backbone(cfg, ShapeSpec(channels=4))
    assert four(torch.randn(1, 4, 32, 32))["res2"].shape == (1, 24, 8, 8)
    cfg.MODEL.TIMM.IN_CHANNELS = 2
    assert build_backbone(cfg)(torch.randn(1, 2, 32, 32))["res2"].shape == (1, 24, 8, 8)


def test_backbones_refuse_unknown_names(tiny_cfg, kind_cfg):
    with pytest.raises(ValueError, match="timm has no network 'resnet51'; did you mean"):
        build_backbone(tiny_cfg(*TIMM, "resnet51"))
    words = r"has 'res9', and the maps are res2, res3, res4, res5 \(or p2.*leave OUT_FEATURES empty"
    with pytest.raises(ValueError, match=words):
        build_backbone(tiny_cfg(*TIMM, "test_convnext", "MODEL.TIMM.OUT_FEATURES", "['res9']"))
    twice = ("MODEL.TIMM.OUT_FEATURES", "['p2', 'res2']")
    with pytest.raises(ValueError, match="has a map twice"):
        build_backbone(tiny_cfg(*TIMM, "test_convnext", *twice))
    opts = ("MODEL.CLIP_BACKBONE.OUT_FEATURES", "['res2']")
    with pytest.raises(ValueError, match="maps are clip_tokens, clip_dense"):
        build_backbone(kind_cfg("vit", *opts))


# --- in models


@torch.no_grad()
@pytest.mark.parametrize("name", ["vit", "resnet", "test_convnext"])
def test_models_are_built_on_backbones(kind_cfg, tiny_cfg, name):
    arch = ("MODEL.META_ARCHITECTURE", "BackboneTestModel")
    cfg = kind_cfg(name, *arch) if name in TOWERS else tiny_cfg(*TIMM, name, *arch)
    model = build_model(cfg).eval()
    images = [torch.randn(3, 40, 70), torch.randn(3, 66, 33)]
    maps = model(images)
    height, width = (72, 72) if name == "vit" else (96, 96)
    for name, (channels, stride) in shapes_of(model.backbone).items():
        assert maps[name].shape == (2, channels, height // stride, width // stride)
    # The state dict restores the model.
    again = build_model(cfg)
    again.load_state_dict(model.state_dict())
    for name, feats in again.eval()(images).items():
        assert torch.equal(feats, maps[name])


@pytest.mark.skipif(not HAS_DETECTRON2, reason="the head is detectron2's own")
@pytest.mark.parametrize("kind", ["resnet", "timm"])
def test_semantic_segmentor_trains_on_backbones(kind_cfg, tiny_cfg, kind):
    levels = "['res2', 'res3', 'res4', 'res5']"
    opts = ("MODEL.META_ARCHITECTURE", "SemanticSegmentor", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32")
    opts += ("MODEL.SEM_SEG_HEAD.IN_FEATURES", levels, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5")
    if kind == "timm":
        cfg = tiny_cfg(*TIMM, "test_convnext", *opts)
    else:
        cfg = kind_cfg("resnet", "MODEL.CLIP_BACKBONE.OUT_FEATURES", levels, *opts)
    model = build_model(cfg)
    sizes = ((40, 70), (66, 33))
    batch = [
        {"image": torch.rand(3, *size) * 255, "sem_seg": torch.zeros(size, dtype=torch.long)}
        for size in sizes
    ]
    loss = model(batch)["loss_sem_seg"]
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    with torch.no_grad():
        scores = [output["sem_seg"] for output in model.eval()(batch)]
    assert [tuple(image_scores.shape) for image_scores in scores] == [(5, *size) for size in sizes]


def test_timm_backbone_of_a_detector_swin(tiny_cfg):
    cfg = tiny_cfg(
        *("MODEL.BACKBONE.NAME", "OVSegTimmBackbone", "MODEL.TIMM.DETECTOR_SWIN", "True"),
        *("MODEL.TIMM.NAME", "swin_tiny_patch4_window7_224", "MODEL.TIMM.DROP_PATH", "0.3"),
        *("MODEL.TIMM.ABSOLUTE_POSITIONS", "True"),
        *("MODEL.TIMM.OUT_FEATURES", "['res2', 'res5']"),
    )
    backbone = build_backbone(cfg)
    assert isinstance(backbone.network, SwinFeatures) and backbone.size_divisibility == 32
    assert backbone.network.stages[-1].blocks[-1].drop_path1.drop_prob == pytest.approx(0.3)
    maps = backbone.eval()(torch.randn(1, 3, 40, 50))
    assert {name: tuple(feats.shape[1:]) for name, feats in maps.items()} == {
        "res2": (96, 10, 13),
        "res5": (768, 2, 2),
    }
    assert backbone.network.position_embed.shape == (1, 96, 56, 56)
    # A stage without a map is trained for the next one; the norm of an unused map is not.
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {f"network.norms.{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")}
