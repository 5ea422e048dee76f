"""Patch features of ViTs of timm: DINO, DINOv2, DINOv3 and SAM's encoder, tiny and random."""

import pytest
import timm
import torch
from timm.models.eva import Eva

from ovseg_d2.masks import PatchFeatures, load_patch_network

TINY = {"depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 0}


def tiny_sam() -> torch.nn.Module:
    options = {"img_size": 64, "window_size": 2, "global_attn_indexes": (1,), "neck_chans": 12}
    return timm.create_model("samvit_base_patch16", **options, **TINY)


def tiny(name: str) -> torch.nn.Module:
    return timm.create_model(name, dynamic_img_size=True, **TINY)


@pytest.mark.parametrize(
    ("network", "patch", "channels"),
    [
        (lambda: tiny("vit_tiny_patch16_224"), 16, 32),
        (lambda: tiny("vit_small_patch14_reg4_dinov2"), 14, 32),
        (lambda: tiny("vit_small_patch16_dinov3"), 16, 32),
        (tiny_sam, 16, 12),
    ],
    ids=["DINO", "DINOv2", "DINOv3", "SAM"],
)
def test_features_span_images_of_any_size(network, patch, channels):
    model = network()
    images = torch.rand(2, 3, 3 * patch, 5 * patch) * 255
    feats = PatchFeatures(model)(images)
    assert feats.shape == (2, channels, 3, 5)
    mean, std = (torch.tensor(model.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        tokens = model.forward_features((images / 255 - mean) / std)
    if tokens.dim() == 3:
        tokens = tokens[:, model.num_prefix_tokens :].transpose(1, 2).reshape(feats.shape)
    torch.testing.assert_close(feats, tokens, rtol=1e-3, atol=1e-4)
    assert PatchFeatures(model)(images[..., 1:, 2:]).shape == (2, channels, 3, 5)
    assert PatchFeatures(model, size=patch)(images).shape == (2, channels, 1, 2)


@pytest.mark.parametrize(("features", "part"), [("query", 0), ("key", 1), ("value", 2)])
def test_parts_of_the_last_attention(features, part):
    model = tiny("vit_tiny_patch16_224")
    images = torch.rand(1, 3, 32, 48) * 255
    feats = PatchFeatures(model, features=features)(images)
    normed = []
    model.blocks[-1].norm1.register_forward_hook(lambda _, __, output: normed.append(output))
    PatchFeatures(model)(images)
    rows = slice(32 * part, 32 * part + 32)
    qkv = model.blocks[-1].attn.qkv
    expected = normed[0][0, 1:] @ qkv.weight[rows].T + qkv.bias[rows]
    torch.testing.assert_close(feats[0].flatten(1).T, expected, rtol=1e-4, atol=1e-5)
    assert not model.blocks[-1].attn.qkv._forward_hooks


def test_network_is_built_by_name_and_loads_a_file(tmp_path, monkeypatch):
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: create(name, **{**options, **TINY})
    )
    model = load_patch_network("vit_small_patch16_dinov3", "random", seed=3)
    assert isinstance(model, Eva)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    images = torch.rand(1, 3, 32, 48) * 255
    loaded = load_patch_network("vit_small_patch16_dinov3", str(path))
    torch.testing.assert_close(PatchFeatures(loaded)(images), PatchFeatures(model)(images))
    with pytest.raises(ValueError, match="are not those of 'vit_tiny_patch16_224'"):
        load_patch_network("vit_tiny_patch16_224", str(path))


def test_other_networks_and_sizes_are_refused():
    with pytest.raises(ValueError, match="timm cannot build the ViT 'resnet10t'"):
        load_patch_network("resnet10t", "random")
    with pytest.raises(ValueError, match="'swin_tiny_patch4_window7_224'"):
        load_patch_network("swin_tiny_patch4_window7_224", "random")
    with pytest.raises(ValueError, match="features='mean'; choose one of"):
        PatchFeatures(tiny("vit_tiny_patch16_224"), features="mean")
    with pytest.raises(ValueError, match="features='key' needs a plain ViT, not Vis"):
        PatchFeatures(tiny_sam(), features="key")
    with pytest.raises(ValueError, match="size=-1; give a size in pixels, or 0"):
        PatchFeatures(tiny("vit_tiny_patch16_224"), size=-1)
