import copy
import math

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from ovseg_d2.clip import LastBlock
from ovseg_d2.clip.resnet import (
    resnet_dense,
    resnet_dense_and_keys,
    resnet_geometry,
    resnet_global,
)

BLOCKS = {"value": LastBlock(), "full": LastBlock(attention="full")}
ALL_BLOCKS = pytest.mark.parametrize("last_block", BLOCKS.values(), ids=BLOCKS)


@pytest.fixture
def build_visual(build_model, vision_kinds):
    """Give a function that builds the tiny ResNet: 4 heads, grid 2x2, width 128, D 32.

    Its queries are long, so that attention chooses: even weights would hide mistakes.
    """

    def build(**changes):
        visual = build_model(vision={**vision_kinds["resnet"], **changes}).visual
        with torch.no_grad():
            visual.attnpool.q_proj.weight.mul_(10)
        return visual

    return build


@pytest.fixture
def visual(build_visual):
    return build_visual()


def last_stage(visual, images):
    """The input of the pooling, from open_clip's intermediates."""
    output = visual.forward_intermediates(images, indices=[4], intermediates_only=True)
    return output["image_intermediates"][0]


@torch.no_grad()
def weighted_values(pool, asking, tokens):
    """Attention of one token (C,) over a list of tokens, one head and one token at a time.

    Returns the weights, (heads, N), and the projected mean of the values, (D,).
    """
    w = {name: value.detach() for name, value in pool.state_dict().items()}
    query = w["q_proj.weight"] @ asking + w["q_proj.bias"]
    head_width = len(query) // pool.num_heads
    mixed, weights = torch.zeros_like(query), []
    for head in range(pool.num_heads):
        part = slice(head * head_width, (head + 1) * head_width)
        logits = []
        for token in tokens:
            key = w["k_proj.weight"] @ token + w["k_proj.bias"]
            logits.append(float(query[part] @ key[part]) / math.sqrt(head_width))
        total = sum(math.exp(logit) for logit in logits)
        weights.append([math.exp(logit) / total for logit in logits])
        for weight, token in zip(weights[-1], tokens, strict=True):
            value = w["v_proj.weight"] @ token + w["v_proj.bias"]
            mixed[part] += weight * value[part]
    return torch.tensor(weights).to(query), w["c_proj.weight"] @ mixed + w["c_proj.bias"]


class TestGlobal:
    def test_equals_open_clip(self, visual):
        images = torch.randn(3, 3, 64, 64)
        torch.testing.assert_close(
            resnet_global(visual, images), visual(images), rtol=1e-5, atol=1e-4
        )

    @pytest.mark.parametrize("size", [(96, 160), (64, 32), (75, 100), (32, 128)])
    def test_other_sizes_have_interpolated_positions(self, visual, size):
        """A grid of 1x4 has as many locations as the native 2x2, and other positions."""
        images = torch.randn(2, 3, *size)
        stage = last_stage(visual, images)
        positions = visual.attnpool.positional_embedding.detach()
        maps = positions[1:].T.reshape(1, 128, 2, 2)
        maps = nn.functional.interpolate(maps, size=stage.shape[-2:], mode="bicubic")
        pool = copy.deepcopy(visual.attnpool)
        pool.positional_embedding = nn.Parameter(torch.cat([positions[:1], maps[0].flatten(1).T]))
        torch.testing.assert_close(resnet_global(visual, images), pool(stage), rtol=1e-5, atol=1e-4)

    def test_gradient_equals_open_clips(self, visual):
        visual.double()
        images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
        grads = []
        for encode in (visual, lambda x: resnet_global(visual, x)):
            visual.zero_grad()
            encode(images).square().sum().backward()
            grads.append([p.grad.clone() for p in visual.parameters()])
        for theirs, ours in zip(*grads, strict=True):
            torch.testing.assert_close(ours, theirs)


class TestDense:
    def test_value_path_equals_a_computation_by_location(self, visual):
        visual.double()
        images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
        stage = last_stage(visual, images)
        w = {name: value.detach() for name, value in visual.attnpool.state_dict().items()}
        feats = resnet_dense(visual, images)
        assert feats.shape == (2, 32, 2, 3)
        for i, row, column in torch.cartesian_prod(*map(torch.arange, (2, 2, 3))).tolist():
            value = w["v_proj.weight"] @ stage[i, :, row, column] + w["v_proj.bias"]
            expected = w["c_proj.weight"] @ value + w["c_proj.bias"]
            torch.testing.assert_close(feats[i, :, row, column], expected)

    def test_full_attention_equals_a_computation_by_location(self, visual):
        visual.double()
        images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
        feats = resnet_dense(visual, images, LastBlock(attention="full"))
        for stage, own_feats in zip(last_stage(visual, images), feats, strict=True):
            locations = list(stage.flatten(1).T)
            tokens = [sum(locations) / len(locations), *locations]
            for place, asking in enumerate(locations):
                _, expected = weighted_values(visual.attnpool, asking, tokens)
                torch.testing.assert_close(own_feats.flatten(1)[:, place], expected)

    def test_attention_pooling_is_a_weighted_mean_of_projected_values(self, build_visual):
        """[maskclip] Sec. 3.2: with one head, and the positions at zero, exactly.

        The mean token's own value is the mean of all values, so its weight goes to them evenly.
        """
        visual = build_visual(head_width=128).double()
        assert visual.attnpool.num_heads == 1
        nn.init.zeros_(visual.attnpool.positional_embedding)
        images = torch.randn(1, 3, 96, 64, dtype=torch.float64)
        locations = list(last_stage(visual, images)[0].flatten(1).T)
        mean = sum(locations) / len(locations)
        weights, _ = weighted_values(visual.attnpool, mean, [mean, *locations])
        weights = weights[0, 1:] + weights[0, 0] / len(locations)
        assert float(weights.sum()) == pytest.approx(1)
        feats = resnet_dense(visual, images)[0].flatten(1)  # (D, N)
        torch.testing.assert_close(resnet_global(visual, images)[0], feats @ weights)

    def test_the_same_holds_head_by_head(self, visual):
        """Each head has weights of its own, for its share of the projected values."""
        visual.double()
        pool = visual.attnpool
        nn.init.zeros_(pool.positional_embedding)
        images = torch.randn(1, 3, 96, 64, dtype=torch.float64)
        locations = list(last_stage(visual, images)[0].flatten(1).T)
        mean = sum(locations) / len(locations)
        weights, _ = weighted_values(pool, mean, [mean, *locations])
        expected = pool.c_proj.bias.detach().clone()
        for head in range(4):
            part = slice(head * 32, (head + 1) * 32)
            alone = copy.deepcopy(visual)
            with torch.no_grad():
                alone.attnpool.c_proj.bias.zero_()
                kept = alone.attnpool.c_proj.weight[:, part].clone()
                alone.attnpool.c_proj.weight.zero_()
                alone.attnpool.c_proj.weight[:, part] = kept
            feats = resnet_dense(alone, images)[0].flatten(1).detach()
            expected += feats @ (weights[head, 1:] + weights[head, 0] / len(locations))
        torch.testing.assert_close(resnet_global(visual, images)[0], expected)

    def test_dense_does_not_depend_on_positions(self, visual):
        images = torch.randn(1, 3, 64, 64)
        before = {name: resnet_dense(visual, images, block) for name, block in BLOCKS.items()}
        nn.init.normal_(visual.attnpool.positional_embedding)
        for name, block in BLOCKS.items():
            assert torch.equal(resnet_dense(visual, images, block), before[name])
        assert not torch.allclose(before["value"], before["full"], atol=1e-2)

    @ALL_BLOCKS
    def test_images_of_a_batch_are_independent(self, visual, last_block):
        images = torch.randn(3, 3, 64, 96)
        feats = resnet_dense(visual, images, last_block)
        alone = torch.cat([resnet_dense(visual, image[None], last_block) for image in images])
        torch.testing.assert_close(feats, alone, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        "last_block",
        [
            LastBlock(residual="none"),
            LastBlock(residual="class_token"),
            LastBlock(mlp=False),
            LastBlock(attention="qq"),
            LastBlock(attention="neighbourhood_kk"),
        ],
        ids=lambda last_block: f"{last_block.attention}, {last_block.residual}, {last_block.mlp}",
    )
    @pytest.mark.parametrize("function", [resnet_dense, resnet_dense_and_keys])
    def test_resnet_refuses_options_of_a_vit(self, visual, function, last_block):
        message = (
            f"attention='{last_block.attention}', residual='{last_block.residual}' and "
            rf"mlp={last_block.mlp} .* a ResNet ends in attention pooling; choose attention from "
            r"\('value', 'full'\)"
        )
        with pytest.raises(ValueError, match=message):
            function(visual, torch.randn(1, 3, 64, 64), last_block)


class TestKeys:
    @ALL_BLOCKS
    def test_equal_a_computation_by_location(self, visual, last_block):
        visual.double()
        images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
        feats, keys = resnet_dense_and_keys(visual, images, last_block)
        assert torch.equal(feats, resnet_dense(visual, images, last_block))
        assert keys.shape == (2, 128, 2, 3)
        weight, bias = visual.attnpool.k_proj.weight, visual.attnpool.k_proj.bias
        stage = last_stage(visual, images)
        for i, row, column in torch.cartesian_prod(*map(torch.arange, (2, 2, 3))).tolist():
            expected = weight @ stage[i, :, row, column] + bias
            torch.testing.assert_close(keys[i, :, row, column], expected)


@ALL_BLOCKS
def test_resnet_of_an_empty_batch(visual, last_block):
    feats, keys = resnet_dense_and_keys(visual, torch.zeros(0, 3, 64, 96), last_block)
    assert feats.shape == (0, 32, 2, 3)
    assert keys.shape == (0, 128, 2, 3)
    assert resnet_global(visual, torch.zeros(0, 3, 64, 96)).shape == (0, 32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@ALL_BLOCKS
def test_resnet_keeps_the_dtype(visual, last_block, dtype):
    images = torch.randn(2, 3, 64, 96)
    exact = (*resnet_dense_and_keys(visual, images, last_block), resnet_global(visual, images))
    visual.to(dtype)
    images = images.to(dtype)
    rounded = (*resnet_dense_and_keys(visual, images, last_block), resnet_global(visual, images))
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    for out, expected in zip(rounded, exact, strict=True):
        assert out.dtype == dtype
        assert (out.float() - expected).abs().max() < tolerance * expected.abs().max()


@ALL_BLOCKS
def test_resnet_runs_on_the_device_of_inputs(visual, last_block):
    """On the meta device anything that is made on another one is an error."""
    visual.to("meta")
    images = torch.randn(2, 3, 96, 64, device="meta")
    feats, keys = resnet_dense_and_keys(visual, images, last_block)
    assert feats.device.type == keys.device.type == "meta"
    assert resnet_global(visual, images).device.type == "meta"


@ALL_BLOCKS
def test_gradient_reaches_what_the_features_depend_on(visual, last_block):
    resnet_dense(visual, torch.randn(2, 3, 64, 96), last_block).square().sum().backward()
    untouched = {name for name, p in visual.named_parameters() if p.grad is None}
    positions = {"attnpool.positional_embedding"}
    asking = {f"attnpool.{name}_proj.{part}" for name in "qk" for part in ("weight", "bias")}
    assert untouched == positions | (asking if last_block.attention == "value" else set())
    assert visual.conv1.weight.grad.abs().sum() > 0


def test_geometry_of_the_tiny_tower(build_visual):
    geometry = resnet_geometry(build_visual(image_size=96, width=8))
    assert geometry.patch_size == (32, 32)
    assert geometry.image_size == (96, 96)
    assert geometry.grid == (3, 3)
    assert geometry.width == 256
    assert geometry.embed_dim == 32


@pytest.mark.parametrize(
    "subcase",
    [
        "native",
        "wide",
        "not_multiple_of_32",
        "attention_pooling",
        "prompt_denoising",
        "key_smoothing_some",
        "both",
    ],
)
def test_parity_with_maskclip(parity, official_smoothing, subcase):
    case = parity("maskclip_resnet")
    call = case.subcases[subcase]
    construct = case.construct
    visual = ModifiedResNet(
        layers=construct["blocks"],
        output_dim=construct["embed_dim"],
        heads=construct["heads"],
        image_size=construct["image_resolution"],
        width=construct["width"],
    )
    weights = {k[len("visual.") :]: v for k, v in case.weights.items() if k.startswith("visual.")}
    visual.load_state_dict(weights)
    images = (call.inputs["image"].float() - call.args["mean"]) / call.args["std"]
    attention = "full" if call.args.get("attn_pooling") else "value"
    feats, keys = resnet_dense_and_keys(visual.eval(), images, LastBlock(attention=attention))
    call.check("features", feats)
    smoothed = official_smoothing(call, keys)
    if smoothed is not None:
        call.check("logits", smoothed)
