"""DINO's clusters on a tiny random ViT."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from ovseg_d2.masks import DinoClusters
from ovseg_d2.ops import kmeans

TINY = {"depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 0, "dynamic_img_size": True}
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def tiny(name: str = "vit_tiny_patch16_224") -> torch.nn.Module:
    return timm.create_model(name, **TINY)


def test_dino_equals_features_and_kmeans_by_hand():
    model = tiny()
    masks = DinoClusters(model, num_clusters=5, seed=2)(IMAGE)
    mean, std = torch.tensor([0.5] * 3), torch.tensor([0.5] * 3)
    pixels = (torch.from_numpy(IMAGE).float() / 255 - mean) / std
    with torch.no_grad():
        tokens = model.forward_features(pixels.permute(2, 0, 1)[None])
    ids = kmeans(tokens[:, 1:], 5, seed=2).ids.reshape(4, 6).numpy()
    expected = ids.repeat(16, axis=0).repeat(16, axis=1)
    assert masks.shape == (5, 64, 96)
    assert np.array_equal(masks.argmax(axis=0), expected)
    assert (masks.sum(axis=0) == 1).all()


def test_dino_puts_equal_patches_in_one_mask():
    image = np.zeros((64, 96, 3), dtype=np.uint8)
    image[:, 48:] = (250, 120, 10)
    model = tiny()
    torch.nn.init.zeros_(model.pos_embed)  # or places count too
    masks = DinoClusters(model, num_clusters=2)(image)
    left = np.zeros((64, 96), dtype=bool)
    left[:, :48] = True
    assert {mask.tobytes() for mask in masks} == {left.tobytes(), (~left).tobytes()}


@pytest.mark.parametrize("size", [(1, 1), (15, 200), (33, 47)])
def test_dino_takes_any_image_size(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    masks = DinoClusters(tiny(), num_clusters=3)(image)
    assert masks.shape[1:] == size
    assert (masks.sum(axis=0) == 1).all()
    assert masks.any(axis=(1, 2)).all()


def test_dino_resizes_the_shorter_side():
    seen = []
    model = tiny()
    forward = model.forward_features
    model.forward_features = lambda x: seen.append(tuple(x.shape)) or forward(x)
    masks = DinoClusters(model, size=130)(IMAGE)
    assert seen == [(1, 3, 128, 192)]
    assert masks.shape[1:] == (64, 96)


def test_dino_drops_special_tokens():
    model = timm.create_model("vit_small_patch14_reg4_dinov2", **TINY)
    masks = DinoClusters(model, num_clusters=4)(IMAGE[:42, :70])
    assert masks.shape == (4, 42, 70)


def test_dino_depends_on_image_and_seed_only():
    source = DinoClusters.load(model="vit_tiny_patch16_224", weights="random", num_clusters=6)
    state = torch.get_rng_state()
    again = DinoClusters.load(model="vit_tiny_patch16_224", weights="random", num_clusters=6)
    assert torch.equal(torch.get_rng_state(), state)
    first = source(IMAGE)
    source(IMAGE[::-1].copy())
    assert np.array_equal(source(IMAGE), first)
    assert np.array_equal(again(IMAGE), first)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_dino_loads_a_weight_file(tmp_path, monkeypatch, suffix):
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, **TINY))
    model = tiny()
    path = str(tmp_path / f"weights{suffix}")
    save = save_file if suffix == ".safetensors" else torch.save
    save(model.state_dict(), path)
    loaded = DinoClusters.load(model="vit_tiny_patch16_224", weights=path, num_clusters=4)
    assert np.array_equal(loaded(IMAGE), DinoClusters(model, num_clusters=4)(IMAGE))
    torch.save({"norm.weight": torch.zeros(3)}, path)
    words = "the weights in '.*' are not those of 'vit_tiny_patch16_224' .*; name the model"
    if suffix == ".pth":
        with pytest.raises(ValueError, match=words):
            DinoClusters.load(model="vit_tiny_patch16_224", weights=path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "vit_nope"}, "timm cannot build the ViT 'vit_nope' .*; choose one such as"),
        ({"model": "resnet10t"}, "timm cannot build the ViT 'resnet10t'"),
        ({"num_clusters": 0}, "num_clusters=0, size=0; give at least 1 cluster"),
        ({"size": -1}, "give at least 1 cluster, and a size in pixels"),
    ],
)
def test_dino_refuses_bad_options(options, words):
    with pytest.raises(ValueError, match=words):
        DinoClusters.load(**{"model": "vit_tiny_patch16_224", "weights": "random", **options})


def test_dino_refuses_a_missing_file():
    with pytest.raises(FileNotFoundError, match="there is no weight file 'none.pth'"):
        DinoClusters.load(model="vit_tiny_patch16_224", weights="none.pth")
