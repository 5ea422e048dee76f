"""MaskCLIP+'s students: names of mmseg arrive in ours, with the outputs of its layers."""

import re

import pytest
import torch
from torch import Tensor, nn

from ovseg_d2.checkpoints import convert_maskclip_plus, recognise
from ovseg_d2.config import load_config
from ovseg_d2.d2.modeling import build_model

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
