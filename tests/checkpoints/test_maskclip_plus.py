"""MaskCLIP+'s students: names of mmseg arrive in ours, with the outputs of its layers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ovseg_d2.checkpoints import convert_maskclip_plus, recognise
from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import build_model
from ovseg_d2.engine.evaluate import evaluate
from ovseg_d2.engine.loading import RANDOM_NOTE, load_model

_STUDENT = "system.student."
# Ours by mmseg's, read backwards: the names that a release has for our student's weights.
_OFFICIAL = (
    (r"^network\.backbone\.network\.network\.bn1\.", "backbone.stem.7."),
    (r"^network\.backbone\.network\.network\.conv1\.", "backbone.stem."),
    (r"^network\.backbone\.network\.network\.", "backbone."),
    (r"^network\.head\.layers\.branches\.", "decode_head.decode_module.aspp_modules."),
    (r"^network\.head\.layers\.project\.", "decode_head.decode_module.bottleneck."),
    (r"^network\.head\.layers\.reduce\.", "decode_head.decode_module.c1_bottleneck."),
    (r"^network\.head\.layers\.fuse\.", "decode_head.decode_module.sep_bottleneck."),
    (r"^network\.head\.layers\.image_pool\.0\.", "decode_head.decode_module.image_pool.1.conv."),
)
_PLUS = ("aspp_modules.1", "aspp_modules.2", "aspp_modules.3", "sep_bottleneck.")


def official_name(name: str, separable: bool) -> str:
    for pattern, ours in _OFFICIAL:
        name = re.sub(pattern, ours, name)
    if not name.startswith("decode_head.") or "image_pool" in name:
        return name
    deep = separable and any(part in name for part in _PLUS)
    layers = {"0": "conv", "1": "bn"}
    if deep:
        layers = {"0": "depthwise_conv.conv", "1": "depthwise_conv.bn"}
        layers |= {"3": "pointwise_conv.conv", "4": "pointwise_conv.bn"}
    part, number, leaf = re.fullmatch(r"(.*)\.(\d)\.(\w+)", name).groups()
    return f"{part}.{layers[number]}.{leaf}"


def student(name: str, tiny_opts: list[str]) -> nn.Module:
    network = ["MODEL.TIMM.NAME", "resnet50c", "MODEL.TIMM.PRETRAINED", ""]
    opts = [*tiny_opts, *network, "MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.TIMM.NORM", ""]
    return build_model(load_config(f"configs/paper/{name}.yaml", opts))


def released(state: dict[str, Tensor], separable: bool) -> dict[str, Tensor]:
    """Give the state dict of a release, with all that one holds beside the student."""
    weights = {
        official_name(key.removeprefix(_STUDENT), separable): value
        for key, value in state.items()
        if key.startswith(_STUDENT) and "classifier" not in key
    }
    pool = "decode_head.decode_module.image_pool.1."
    if separable:
        bias = weights.pop(f"{pool}conv.bias")
        names = ("weight", "bias", "running_mean", "running_var")
        weights |= {f"{pool}bn.{name}": torch.rand_like(bias) for name in names}
        weights[f"{pool}bn.num_batches_tracked"] = torch.zeros((), dtype=torch.long)
        weights["decode_head.bg_embeddings"] = torch.rand(1, len(bias))
    extra = ("text_embeddings", "_iter_counter", "proj.weight", "clip.cls_token")
    return weights | {f"decode_head.{name}": torch.zeros(2) for name in extra}


@pytest.mark.parametrize(
    ("name", "separable"), [("vitb16_context59", False), ("zero_shot_context60", True)]
)
def test_convert_maskclip_plus_fills_the_paper_configs_student(
    tiny_opts: list[str], name: str, separable: bool
) -> None:
    state = student(f"maskclip_plus_{name}", tiny_opts).state_dict()
    weights = released(state, separable)
    release = recognise(weights)
    assert release is not None and release.name == "maskclip_plus"
    converted = convert_maskclip_plus(weights)
    expected = {k: v.shape for k, v in state.items() if k.startswith(_STUDENT)}
    assert {k: v.shape for k, v in converted.weights.items()} == expected
    pooled = {k for k in weights if ".image_pool.1." in k}
    arrived = {id(value) for value in converted.weights.values()}
    unaccounted = {
        k
        for k, v in weights.items()
        if id(v) not in arrived and k not in converted.left_out and k not in pooled
    }
    assert unaccounted == ({"decode_head.bg_embeddings"} if separable else set())
    assert len(converted.left_out) == 4 + separable


def test_convert_maskclip_plus_joins_the_pooled_branchs_norm() -> None:
    conv, norm = nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4).eval()
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, name).data.uniform_(0.5, 1.5)
    pool = "decode_head.decode_module.image_pool.1."
    weights = {f"{pool}conv.{k}": v for k, v in conv.state_dict().items()}
    weights |= {f"{pool}bn.{k}": v for k, v in norm.state_dict().items()}
    found = convert_maskclip_plus(weights).weights
    weight, bias = (
        found[f"system.student.network.head.layers.image_pool.0.{name}"]
        for name in ("weight", "bias")
    )
    pixels = torch.randn(2, 6, 1, 1)
    torch.testing.assert_close(nn.functional.conv2d(pixels, weight, bias), norm(conv(pixels)))


def test_convert_maskclip_plus_refuses_other_weights() -> None:
    with pytest.raises(ValueError, match=r"'auxiliary_head.conv.weight' is not a weight of MaskC"):
        convert_maskclip_plus({"auxiliary_head.conv.weight": torch.zeros(1)})


@pytest.mark.parametrize("missing", ["bn.weight", "bn.running_var", "conv.weight"])
def test_convert_maskclip_plus_refuses_half_of_the_pooled_branch(missing: str) -> None:
    pool = "decode_head.decode_module.image_pool.1."
    names = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    weights = {f"{pool}conv.weight": torch.ones(4, 6, 1, 1)}
    weights |= {f"{pool}{name}": torch.ones(4) for name in names}
    assert len(convert_maskclip_plus(weights).weights) == 2
    del weights[pool + missing]
    with pytest.raises(ValueError, match=r"image_pool.1.conv.weight and its norm are not of the"):
        convert_maskclip_plus(weights)


@pytest.mark.parametrize("name", ["rn50_voc20", "zero_shot_voc20"])
def test_released_student_evaluates_through_its_paper_config(
    tiny_opts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    voc = tmp_path / "VOCdevkit/VOC2012"
    rng = np.random.default_rng(0)
    for folder, suffix, shape in (
        ("JPEGImages", "jpg", (40, 60, 3)),
        ("annotations_detectron2/val", "png", (40, 60)),
    ):
        (voc / folder).mkdir(parents=True)
        pixels = rng.integers(0, 20 if len(shape) == 2 else 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(voc / folder / f"2007_000033.{suffix}")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))

    def look_up(*_: str) -> None:
        raise AssertionError("ImageNet's weights are looked for")

    monkeypatch.setattr("ovseg_d2.nets.timm_features.find_timm_weights", look_up)
    opts = [
        *(*tiny_opts, "MODEL.TIMM.NAME", "test_resnet", "MODEL.TEXT.TEMPLATES", "['{}']"),
        *("MODEL.SEM_SEG_HEAD.NORM", "BN", "MODEL.TIMM.NORM", "", "INPUT.MIN_SIZE_TEST", "24"),
        *("INPUT.CROP.SIZE", "[32, 32]", "OUTPUT_DIR", str(tmp_path / "output")),
        *("DATALOADER.NUM_WORKERS", "0"),
    ]
    config = f"configs/paper/maskclip_plus_{name}.yaml"
    source = build_model(load_config(config, [*opts, "MODEL.TIMM.PRETRAINED", ""]))
    path = tmp_path / "student.pth"
    content = {"meta": {"epoch": 1}, "state_dict": released(source.state_dict(), separable=False)}
    torch.save({**content, "optimizer": {}}, path)
    cfg = load_config(config, [*opts, "MODEL.WEIGHTS", str(path)])
    assert cfg.MODEL.TIMM.PRETRAINED == "timm"
    model, note = load_model(cfg)
    assert note == RANDOM_NOTE  # the words are those of a random CLIP, which no release brings
    loaded, right = (each.system.student.state_dict() for each in (model, source))
    assert all(torch.equal(loaded[key], value) for key, value in right.items())
    evaluate(cfg, model)
    (results,) = json.loads((tmp_path / "output" / "results.json").read_text()).values()
    assert results["images"] == 1 and 0 <= results["mIoU"] <= 100
