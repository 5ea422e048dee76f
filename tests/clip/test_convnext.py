import math

import open_clip
import pytest
import torch
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import nn

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.clip.convnext import (
    check_convnext,
    convnext_dense,
    convnext_geometry,
    convnext_global,
)

HEADS = {
    "linear": {"timm_proj": "linear"},
    "linear with bias": {"timm_proj": "linear", "timm_proj_bias": True},
    "mlp": {"timm_proj": "mlp"},
    "timm's own": {"timm_proj": "", "timm_pool": "avg"},
}


@pytest.fixture
def build_visual(build_model, vision_kinds):
    """Give a function that builds the tiny ConvNeXt: grid 2x2, width 64, D 32."""

    def build(**changes):
        return build_model(vision={**vision_kinds["convnext"], **changes}).visual

    return build


@pytest.fixture
def visual(build_visual):
    return build_visual()


def norm_first(visual):
    """Exchange a tower's trunk for one that normalises before it pools."""
    visual.trunk = ConvNeXt(
        depths=(1, 1, 1, 1), dims=(8, 16, 32, 64), num_classes=0, head_norm_first=True
    )
    for parameter in visual.trunk.parameters():
        nn.init.normal_(parameter, std=0.3)
    return visual.eval()


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (75, 100), (32, 32)])
def test_global_equals_open_clip(visual, size):
    images = torch.randn(2, 3, *size)
    assert torch.equal(convnext_global(visual, images), visual(images))


@torch.no_grad()
@pytest.mark.parametrize("head", ["linear", "linear with bias"])
def test_dense_equals_a_computation_by_location(build_visual, head):
    visual = build_visual(**HEADS[head]).double()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    stage = visual.forward_intermediates(images, indices=[3], intermediates_only=True)
    stage = stage["image_intermediates"][0]
    norm, project = visual.trunk.head.norm, visual.head.proj
    feats = convnext_dense(visual, images)
    assert feats.shape == (2, 32, 2, 3)
    for i, row, column in torch.cartesian_prod(*map(torch.arange, (2, 2, 3))).tolist():
        x = stage[i, :, row, column]
        x = (x - x.mean()) / math.sqrt(float(((x - x.mean()) ** 2).mean()) + 1e-5)
        expected = project.weight @ (x * norm.weight + norm.bias)
        if project.bias is not None:
            expected = expected + project.bias
        torch.testing.assert_close(feats[i, :, row, column], expected)


@pytest.mark.parametrize("changes", HEADS.values(), ids=HEADS)
def test_dense_of_one_location_equals_global(build_visual, changes):
    visual = build_visual(**changes)
    images = torch.randn(3, 3, 32, 32)
    feats = convnext_dense(visual, images)
    assert feats.shape == (3, 32, 1, 1)
    torch.testing.assert_close(feats[..., 0, 0], visual(images), rtol=1e-5, atol=1e-5)


def test_norm_before_pooling_makes_global_the_mean_of_dense(visual):
    images = torch.randn(2, 3, 64, 96)
    mean = convnext_dense(visual, images).mean(dim=(2, 3))
    assert not torch.allclose(mean, visual(images), atol=1e-2)
    visual = norm_first(visual)
    mean = convnext_dense(visual, images).mean(dim=(2, 3))
    torch.testing.assert_close(mean, visual(images), rtol=1e-4, atol=1e-5)


def test_dense_locations_are_in_image_order(visual):
    """A change in the bottom right corner moves the feature there most."""
    images = torch.randn(1, 3, 96, 160)
    changed = images.clone()
    changed[..., 68:92, 132:156] += 3
    moved = (convnext_dense(visual, changed) - convnext_dense(visual, images)).norm(dim=1)
    assert moved.shape == (1, 3, 5)
    assert moved.argmax() == 14


def test_convnext_images_of_a_batch_are_independent(visual):
    images = torch.randn(3, 3, 64, 96)
    alone = torch.cat([convnext_dense(visual, image[None]) for image in images])
    torch.testing.assert_close(convnext_dense(visual, images), alone, rtol=1e-5, atol=1e-5)


def test_convnext_of_an_empty_batch(visual):
    assert convnext_dense(visual, torch.zeros(0, 3, 64, 96)).shape == (0, 32, 2, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_convnext_keeps_the_dtype(visual, dtype):
    images = torch.randn(2, 3, 64, 96)
    exact = convnext_dense(visual, images), convnext_global(visual, images)
    visual.to(dtype)
    images = images.to(dtype)
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    rounded = convnext_dense(visual, images), convnext_global(visual, images)
    for out, expected in zip(rounded, exact, strict=True):
        assert out.dtype == dtype
        assert (out.float() - expected).abs().max() < tolerance * expected.abs().max()


def test_convnext_runs_on_the_device_of_inputs(visual):
    feats = convnext_dense(visual.to("meta"), torch.randn(2, 3, 96, 64, device="meta"))
    assert feats.device.type == "meta"


def test_convnext_gradient_reaches_every_parameter(visual):
    convnext_dense(visual, torch.randn(2, 3, 64, 96)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in visual.parameters())


@pytest.mark.parametrize(
    "last_block",
    [
        LastBlock(attention="full"),
        LastBlock(attention="kk"),
        LastBlock(residual="none"),
        LastBlock(mlp=False),
    ],
    ids=lambda last_block: f"{last_block.attention}, {last_block.residual}, {last_block.mlp}",
)
def test_convnext_refuses_options_of_a_vit(visual, last_block):
    with pytest.raises(ValueError, match=r"a ConvNeXt has no attention; choose .*\('value',\)"):
        convnext_dense(visual, torch.randn(1, 3, 64, 64), last_block)


@pytest.mark.parametrize("changes", HEADS.values(), ids=HEADS)
def test_geometry_reads_the_embedding_from_the_last_layer(build_visual, changes):
    visual = build_visual(**changes, image_size=(64, 96))
    check_convnext(visual)
    geometry = convnext_geometry(visual)
    assert geometry.patch_size == (32, 32)
    assert geometry.image_size == (64, 96)
    assert geometry.grid == (2, 3)
    assert geometry.width == 64
    assert geometry.embed_dim == visual(torch.randn(1, 3, 64, 64)).shape[1] == 32


def test_geometry_without_projection(build_visual):
    visual = build_visual(timm_proj="none", timm_pool="avg")
    assert convnext_geometry(visual).embed_dim == 64
    assert convnext_dense(visual, torch.randn(1, 3, 64, 96)).shape == (1, 64, 2, 3)


class TestRefusals:
    @pytest.mark.parametrize(
        "changes",
        [
            {"pool": "rot_attn", "proj": ""},
            {"pool": "abs_attn", "proj": "linear"},
            {"pool": "", "proj": ""},
        ],
        ids=str,
    )
    def test_other_poolings(self, changes):
        with pytest.raises(ValueError, match="pools with attention or not at all"):
            check_convnext(TimmModel("test_convnext", 16, 64, **changes))


class TestParity:
    """[pixelclip]'s second tower, images and text."""

    @pytest.fixture
    def case(self, parity):
        return parity("pixelclip_convnext")

    @pytest.fixture
    def tower(self, case, tokenizer):
        construct = case.construct
        text = {name: construct[f"text_{name}"] for name in ("width", "heads", "layers")}
        model = open_clip.CLIP(
            embed_dim=construct["embed_dim"],
            vision_cfg={
                "timm_model_name": "test_convnext",
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": construct["image_size"],
            },
            text_cfg={"context_length": 77, "vocab_size": 49408, **text},
        )
        widths = construct["trunk_dims"]
        model.visual.trunk = ConvNeXt(depths=construct["trunk_depths"], dims=widths, num_classes=0)
        model.visual.head.proj = nn.Linear(widths[-1], construct["embed_dim"], bias=False)
        prefix = "clip_model."
        weights = {k[len(prefix) :]: v for k, v in case.weights.items() if k.startswith(prefix)}
        left = model.load_state_dict(weights, strict=False)
        assert left.unexpected_keys == []
        assert set(left.missing_keys) <= {"logit_scale"}
        return CLIPTower(model.eval(), tokenizer, (0.5,) * 3, (0.5,) * 3)

    @pytest.mark.parametrize("subcase", ["dense_native", "dense_wide"])
    def test_dense(self, case, tower, subcase):
        call = case.subcases[subcase]
        feats = tower.dense_feats(call.inputs["image"])
        call.check("features", feats.permute(0, 2, 3, 1))

    def test_global(self, case, tower):
        call = case.subcases["global"]
        call.check("features", tower.encode_image(call.inputs["image"], unit_norm=False))

    def test_text_of_classes_with_synonyms(self, case, tower):
        call = case.subcases["class_text"]
        for number, names in enumerate(case.construct["test_classes"]):
            texts = [f"A photo of a {name} in the scene" for name in names.split(", ")]
            token_ids = tower.tokenize(texts)
            call.check(f"tokens.{number}", token_ids)
        embeds = [tower.encode_text(ids).mean(0) for ids in call.outputs.list("tokens")]
        call.check("text_features", nn.functional.normalize(torch.stack(embeds), dim=1)[:, None])

    def test_text_of_learnt_tokens_and_its_gradient(self, case, tower):
        call = case.subcases["prompted"]
        token_ids = call.outputs["template_token"]
        learnt = case.weights["prompt_tokens"].requires_grad_()
        values, counts = token_ids[token_ids > 0].unique(return_counts=True)
        places = token_ids[0] == values[counts.argmax()]
        assert int(places.sum()) == case.construct["prompt_length"]
        embeds = tower.embed_tokens(token_ids).repeat(len(learnt), 1, 1)
        embeds[:, places] = learnt
        token_ids = token_ids.expand(len(learnt), -1)
        out = tower.encode_token_embeds(embeds, token_ids, unit_norm=False)
        call.check("text_embeds", out)
        (out * call.inputs["cotangent"]).sum().backward()
        call.check("grad_prompt_tokens", learnt.grad)
