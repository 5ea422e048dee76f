"""`SwinFeatures`: the official numbers, any size and errors."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch.nn import functional as F

from ovseg_d2.checkpoints import convert_swin
from ovseg_d2.nets import SwinFeatures, build_swin_features

_NAME = "swin_tiny_patch4_window7_224"


def tiny(*, absolute_positions: bool = False, **options: Any) -> SwinFeatures:
    sizes = {"embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8), "window_size": 7}
    return build_swin_features(
        _NAME,
        absolute_positions=absolute_positions,
        options=tuple({**sizes, **options}.items()),
    )


@torch.no_grad()
@pytest.mark.parametrize("subcase_id", ["divisible", "not_divisible"])
def test_swin_features_equal_the_official_ones(
    parity: Callable[[str], Any], subcase_id: str
) -> None:
    case = parity("ovseg_swin_backbone")
    about = case.construct
    model = tiny(
        embed_dim=about["embed_dim"],
        depths=tuple(about["depths"]),
        num_heads=tuple(about["num_heads"]),
        window_size=about["window_size"],
    ).eval()
    model.load_state_dict(convert_swin(case.weights).weights)
    call = case.subcases[subcase_id]
    for number, feats in enumerate(model(call.inputs["image"])):
        call.check(f"res{number + 2}", feats)


@torch.no_grad()
def test_swin_features_equal_timms_on_whole_windows() -> None:
    """At its native size, where maps are whole windows, only the output norms are new."""
    options = {"embed_dim": 8, "depths": (2, 2), "num_heads": (1, 2), "window_size": 4}
    torch.manual_seed(0)
    network = timm.create_model(
        _NAME, features_only=True, out_indices=(0, 1), img_size=32, **options
    ).eval()
    model = tiny(depths=(2, 2), num_heads=(1, 2), window_size=4, img_size=32).eval()
    theirs = {
        key.replace("layers_", "stages."): value for key, value in network.state_dict().items()
    }
    model.load_state_dict(theirs, strict=False)
    images = torch.randn(1, 3, 32, 32)
    expected, actual = network(images)[0], model(images)[0]
    torch.testing.assert_close(actual.permute(0, 2, 3, 1), model.norms[0](expected))


def test_swin_features_of_any_size_with_gradients() -> None:
    model = tiny()
    maps = model(torch.randn(1, 3, 37, 50))
    shapes = [(8, 10, 13), (16, 5, 7), (32, 3, 4), (64, 2, 2)]
    assert [tuple(feats.shape[1:]) for feats in maps] == shapes
    assert (model.channels, model.strides) == ((8, 16, 32, 64), (4, 8, 16, 32))
    sum(feats.square().sum() for feats in maps).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def test_swin_features_add_absolute_positions_to_the_patches() -> None:
    """An oracle: the same network, with the table resized and added behind its patches."""
    plain, model = tiny(img_size=56).eval(), tiny(img_size=56, absolute_positions=True).eval()
    assert model.position_embed.shape == (1, 8, 14, 14) and model.position_embed.std() > 0.01
    weights = plain.state_dict() | {"position_embed": torch.randn(1, 8, 14, 14)}
    model.load_state_dict(weights)
    images = torch.randn(2, 3, 37, 50)

    def add(_, __, patches):
        table = F.interpolate(weights["position_embed"], patches.shape[1:3], mode="bicubic")
        return patches + table.movedim(1, -1)

    plain.patch_embed.register_forward_hook(add)
    for expected, actual in zip(plain(images), model(images), strict=True):
        torch.testing.assert_close(actual, expected)


def test_convert_swin_keeps_absolute_positions() -> None:
    table = torch.randn(1, 8, 14, 14)
    converted = convert_swin({"absolute_pos_embed": table})
    assert torch.equal(converted.weights["position_embed"], table)


def test_swin_features_refuse_other_networks() -> None:
    with pytest.raises(
        ValueError, match="'resnet18' is not a Swin Transformer of timm; choose one"
    ):
        build_swin_features("resnet18")
    with pytest.raises(ValueError, match="timm has no network 'swin_tidy'"):
        build_swin_features("swin_tidy")
    with pytest.raises(ValueError, match="a SwinTransformer, not a Swin Transformer for any size"):
        SwinFeatures(timm.create_model(_NAME, embed_dim=8, num_heads=(1, 2, 4, 8)))
