import pytest
import torch

from ovseg_d2.clip import LastBlock, encode_stages, stage_shapes

SHAPES = {
    "vit": [(32, 8)],
    "resnet": [(16, 4), (32, 8), (64, 16), (128, 32)],
    "convnext": [(24, 4), (32, 8), (48, 16), (64, 32)],
}
SIZES = [(64, 96), (75, 50), (33, 70)]


@pytest.fixture(params=SHAPES)
def kind(request):
    return request.param


@pytest.fixture
def tower(kind, build_tower, vision_kinds):
    return build_tower(vision=vision_kinds[kind])


def stages_by_hand(visual, kind, images):
    """The maps of the tower's modules, run one by one."""
    found = []
    names = [f"layer{n}" for n in range(1, 5)]
    layers = [getattr(visual, n) for n in names] if kind == "resnet" else visual.trunk.stages
    x = visual.stem(images) if kind == "resnet" else visual.trunk.stem(images)
    for layer in layers:
        x = layer(x)
        found.append(x)
    return found


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_encode_stages_has_the_shapes_of_stage_shapes(tower, kind, size):
    assert stage_shapes(tower) == SHAPES[kind]
    images = torch.randn(2, 3, *size)
    stages, dense = encode_stages(tower, images)
    for stage, (channels, stride) in zip(stages, SHAPES[kind], strict=True):
        expected = [-(-side // stride) for side in size]
        assert list(stage.shape) == [2, channels, *expected]
    assert torch.equal(dense, tower.dense_feats(images))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["resnet", "convnext"], indirect=True)
def test_encode_stages_equals_the_towers_layers(tower, kind):
    images = torch.randn(2, 3, 64, 96)
    expected = stages_by_hand(tower.model.visual, kind, images)
    for stage, other in zip(encode_stages(tower, images)[0], expected, strict=True):
        assert torch.equal(stage, other)
    # Nothing of the padding beyond the image is left.
    padded = torch.zeros(2, 3, 64, 96)
    padded[..., :40, :70] = images[..., :40, :70]
    expected = stages_by_hand(tower.model.visual, kind, padded)
    cut = encode_stages(tower, images[..., :40, :70])[0]
    for stage, other in zip(cut, expected, strict=True):
        assert torch.equal(stage, other[..., : stage.shape[-2], : stage.shape[-1]])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vit"], indirect=True)
@pytest.mark.parametrize("last_block", [LastBlock(), LastBlock(attention="full")])
def test_projected_stage_of_a_vit_is_its_dense_features(tower, last_block):
    visual = tower.model.visual
    images = torch.randn(2, 3, 30, 44)
    (patches,), dense = encode_stages(tower, images, last_block)
    torch.testing.assert_close(torch.einsum("bchw,cd->bdhw", patches, visual.proj), dense)
    assert torch.equal(dense, tower.dense_feats(images, last_block))
    # They are normed: with scale and bias taken back, mean 0 and variance 1 at each location.
    plain = (patches - visual.ln_post.bias[:, None, None]) / visual.ln_post.weight[:, None, None]
    torch.testing.assert_close(plain.mean(dim=1), torch.zeros(2, 4, 6), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        plain.var(dim=1, correction=0), torch.ones(2, 4, 6), atol=1e-2, rtol=0
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["vit"], indirect=True)
def test_stage_of_a_vit_equals_open_clip_with_full_attention(tower):
    visual = tower.model.visual
    images = torch.randn(2, 3, *tower.image_size)
    hidden = visual.forward_intermediates(images, normalize_intermediates=True)
    expected = hidden["image_intermediates"][-1]
    (patches,), _ = encode_stages(tower, images, LastBlock(attention="full"))
    torch.testing.assert_close(patches, expected)


@pytest.mark.parametrize("kind", ["convnext"], indirect=True)
def test_encode_stages_refuses_an_unsupported_last_block(tower):
    with pytest.raises(ValueError, match="a ConvNeXt has no attention"):
        encode_stages(tower, torch.randn(1, 3, 64, 64), LastBlock(attention="full"))


def test_stage_shapes_refuses_oblong_patches(build_tower):
    tower = build_tower(vision={"patch_size": (8, 16)})
    with pytest.raises(ValueError, match="patches are 8x16 pixels.*choose a tower of square"):
        stage_shapes(tower)
