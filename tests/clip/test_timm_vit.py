import copy

import pytest
import torch
import torch.nn.functional as F
from timm.layers import AttentionPoolLatent, PatchDropout, PatchDropoutWithIndices
from timm.models.eva import Eva
from torch import nn

from ovseg_d2.clip import LastBlock, resample_positions
from ovseg_d2.clip.image_tower import image_tower_kind
from ovseg_d2.clip.timm_vit import (
    check_timm_vit,
    timm_vit_bytes,
    timm_vit_dense,
    timm_vit_dense_and_keys,
    timm_vit_geometry,
    timm_vit_global,
    timm_vit_stage_shapes,
    timm_vit_stages,
)

from .timm_towers import DIM, TRUNKS, WIDTH, build_timm_visual

SIZE, GRID = (43, 21), (6, 3)  # neither native, nor square, nor whole patches
CORRELATED = ("qq", "kk", "qq+kk", "neighbourhood_kk")


@pytest.fixture(params=TRUNKS)
def visual(request):
    return build_timm_visual(request.param).double()


@pytest.fixture
def images():
    return torch.randn(2, 3, *SIZE, dtype=torch.float64)


def resized(visual):
    """A copy that timm sets to the padded size, with our resampling of learnt positions."""
    trunk = copy.deepcopy(visual.trunk)
    trunk.set_input_size((48, 24))
    if trunk.pos_embed is not None:
        outside = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
        positions = resample_positions(visual.trunk.pos_embed[0], (4, 4), GRID, outside)
        trunk.pos_embed.data = positions[None]
    return trunk


def padded(images):
    return F.pad(images, (0, 3, 0, 5))


def entering_last(visual, images):
    """Tokens that enter the last block, and the rotary positions of the padded images."""
    trunk = resized(visual)
    seen = {}
    trunk.blocks[-1].register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(x=args[0], **kwargs), with_kwargs=True
    )
    trunk(padded(images))
    return seen["x"], seen.get("rope")


def head(visual, patches):
    """Pool and project each location of (B, N, C) alone, one after the other."""
    out = [torch.stack([head_of_one(visual.trunk, patch) for patch in image]) for image in patches]
    return torch.stack(out)


def head_of_one(trunk, patch):
    patch = trunk.norm(patch)
    pool = trunk.attn_pool
    if pool is not None:
        value = F.linear(patch, pool.kv.weight, pool.kv.bias)[WIDTH:]
        patch = pool.proj(value)
        patch = patch + pool.mlp(pool.norm(patch))
    return trunk.head(trunk.fc_norm(patch))


def on_grid(values):
    return values.transpose(1, 2).unflatten(2, GRID)


def branch(block, mixed):
    """The attention's branch as timm's classes treat it before the residual."""
    kind = type(block).__name__
    if kind == "EvaBlockPostNorm":
        return block.norm1(mixed)
    if kind == "EvaBlock":
        return mixed if block.gamma_1 is None else block.gamma_1 * mixed
    return block.ls1(mixed)


def second_half(block, x):
    """The block with its attention silenced: residual and MLP."""
    block = copy.deepcopy(block)
    nn.init.zeros_(block.attn.proj.weight)
    nn.init.zeros_(block.attn.proj.bias)
    if type(block).__name__ == "EvaBlockPostNorm":
        nn.init.zeros_(block.norm1.bias)
    return block(x)


def normed(block, x):
    return x if type(block).__name__ == "EvaBlockPostNorm" else block.norm1(x)


def with_queries_of(attn, source):
    """A copy whose queries are its keys, or the reverse: q-q is then its ordinary attention.

    It returns mixed values, before their norm and projection.
    """
    attn = copy.deepcopy(attn)
    attn.norm = attn.proj = nn.Identity()
    attn.num_prefix_tokens = 0
    target = {"q": "k", "k": "q"}[source]
    width = WIDTH
    if attn.qkv is None:
        wanted, other = getattr(attn, f"{source}_proj"), getattr(attn, f"{target}_proj")
        setattr(attn, f"{target}_proj", wanted)
        assert other.weight.shape == wanted.weight.shape
        return attn
    rows = {"q": slice(0, width), "k": slice(width, 2 * width)}
    attn.qkv.weight.data[rows[target]] = attn.qkv.weight.data[rows[source]]
    if attn.qkv.bias is not None:
        attn.qkv.bias.data[rows[target]] = attn.qkv.bias.data[rows[source]]
    if getattr(attn, "q_bias", None) is not None:
        bias = getattr(attn, f"{source}_bias").detach().clone()
        attn.q_bias, attn.k_bias = nn.Parameter(bias), bias
    return attn


@torch.no_grad()
def test_global_equals_open_clip_at_native_size(visual):
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    assert torch.equal(timm_vit_global(visual, images), visual(images))


@torch.no_grad()
def test_global_at_another_size_equals_timm_set_to_it(visual, images):
    expected = visual.head(resized(visual)(padded(images)))
    torch.testing.assert_close(timm_vit_global(visual, images), expected)


@torch.no_grad()
def test_native_size_keeps_the_remainder_out():
    visual = build_timm_visual("SigLIP")
    visual.trunk.patch_embed.img_size = (35, 35)  # such as 384 pixels in patches of 14
    images = torch.randn(1, 3, 35, 35)
    assert torch.equal(timm_vit_global(visual, images), visual(images))
    assert timm_vit_dense(visual, images).shape[2:] == (5, 5)


@torch.no_grad()
def test_value_path_by_location(visual, images):
    tokens, _ = entering_last(visual, images)
    block = visual.trunk.blocks[-1]
    attn, patches = block.attn, tokens[:, -18:]
    values = values_of(attn, normed(block, patches)).transpose(1, 2).flatten(2)
    out = second_half(block, patches + branch(block, attn.proj(attn.norm(values))))
    expected = on_grid(head(visual, out))
    torch.testing.assert_close(timm_vit_dense(visual, images), expected)


@torch.no_grad()
@pytest.mark.parametrize("attention", CORRELATED)
@pytest.mark.parametrize(("residual", "mlp"), [("own", True), ("none", False)])
def test_correlated_attention_is_the_block_with_equal_queries_and_keys(
    visual, images, attention, residual, mlp
):
    tokens, rope = entering_last(visual, images)
    block, patches = visual.trunk.blocks[-1], tokens[:, -18:]
    attn = block.attn
    options = {} if rope is None else {"rope": rope}
    x = normed(block, patches)
    if attention == "neighbourhood_kk":
        places = torch.cartesian_prod(torch.arange(6.0), torch.arange(3.0)).double()
        options["attn_mask"] = torch.exp(-(torch.cdist(places, places) ** 2) / (2 * 2.0**2))
    sources = [source for source in "qk" if source in attention]
    mixed = sum(with_queries_of(attn, source)(x, **options) for source in sources)
    mixed = attn.proj(attn.norm(mixed))
    out = branch(block, mixed)
    if residual == "own":
        out = out + patches
    if mlp:
        out = second_half(block, out)
    last_block = LastBlock(residual, mlp, attention, neighbourhood_std=2.0)
    expected = on_grid(head(visual, out))
    torch.testing.assert_close(timm_vit_dense(visual, images, last_block), expected)


@torch.no_grad()
def test_full_attention_is_the_unchanged_block(visual, images):
    trunk = resized(visual)
    trunk.norm = nn.Identity()
    patches = trunk.forward_features(padded(images))[:, -18:]
    dense = timm_vit_dense(visual, images, LastBlock(attention="full"))
    torch.testing.assert_close(dense, on_grid(head(visual, patches)))


@torch.no_grad()
def test_class_token_residual(visual, images):
    last_block = LastBlock(residual="class_token", mlp=False)
    if visual.trunk.cls_token is None:
        with pytest.raises(ValueError, match="residual='class_token' needs a class token"):
            timm_vit_dense(visual, images, last_block)
        return
    tokens, _ = entering_last(visual, images)
    block = visual.trunk.blocks[-1]
    x = normed(block, tokens[:, -18:]).flatten(0, 1)[:, None]
    out = branch(block, block.attn(x)).reshape(2, 18, -1) + tokens[:, :1]
    torch.testing.assert_close(
        timm_vit_dense(visual, images, last_block), on_grid(head(visual, out))
    )


@torch.no_grad()
def test_mean_of_full_features_is_the_image_of_average_pooling():
    visual = build_timm_visual("ViTamin").double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    dense = timm_vit_dense(visual, images, LastBlock(attention="full"))
    torch.testing.assert_close(dense.mean(dim=(2, 3)), visual(images))


@torch.no_grad()
def test_keys_are_those_that_the_block_compares(visual, images):
    tokens, _ = entering_last(visual, images)
    block, patches = visual.trunk.blocks[-1], tokens[:, -18:]
    feats, keys = timm_vit_dense_and_keys(visual, images)
    torch.testing.assert_close(feats, timm_vit_dense(visual, images))
    # Ordinary attention without rotary positions, whose keys are ours.
    attn, x = with_queries_of(block.attn, "k"), normed(block, patches)
    heads = keys.flatten(2).unflatten(1, (2, -1)).transpose(2, 3)
    weights = (heads @ heads.transpose(2, 3) / heads.shape[-1] ** 0.5).softmax(dim=-1)
    mixed = (weights @ values_of(attn, x)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(mixed, attn(x))


def values_of(attn, x):
    if attn.qkv is None:
        values = attn.v_proj(x)
    else:
        values = attn.qkv(x)[..., 2 * WIDTH :]
        if getattr(attn, "v_bias", None) is not None:
            values = values + attn.v_bias
    return values.unflatten(2, (2, -1)).transpose(1, 2)


@torch.no_grad()
def test_stages_give_the_normed_map_and_the_dense_features(visual, images):
    (stage,), dense = timm_vit_stages(visual, images, LastBlock())
    assert timm_vit_stage_shapes(visual) == [(32, 8)]
    assert stage.shape == (2, 32, *GRID)
    torch.testing.assert_close(dense, timm_vit_dense(visual, images))
    tokens, _ = entering_last(visual, images)
    patches = visual.trunk.blocks[-1](tokens[:, -18:].flatten(0, 1)[:, None])
    torch.testing.assert_close(stage, on_grid(visual.trunk.norm(patches).reshape(2, 18, -1)))


def test_geometry(visual):
    geometry = timm_vit_geometry(visual)
    assert geometry.patch_size == (8, 8)
    assert geometry.image_size == (32, 32)
    assert geometry.grid == (4, 4)
    assert geometry.width == 32
    assert geometry.embed_dim == visual(torch.zeros(1, 3, 32, 32).double()).shape[1]


def test_bytes_are_those_of_attention_or_of_the_first_convolution():
    grid = 125 * 125
    assert timm_vit_bytes(build_timm_visual("SigLIP"), (1000, 1000)) == 4 * 2 * grid**2
    assert timm_vit_bytes(build_timm_visual("EVA01"), (1000, 1000)) == 4 * 2 * (1 + grid) ** 2
    small = timm_vit_bytes(build_timm_visual("ViTamin"), (32, 32))
    assert small == 12 * 4 * 8 * 32 * 32 // 16


def test_gradients_reach_the_weights_and_change_nothing(visual, images):
    before = {name: value.clone() for name, value in visual.state_dict().items()}
    visual.trunk.set_grad_checkpointing(True)
    timm_vit_dense(visual, images).sum().backward()
    assert all(p.grad is not None for p in visual.trunk.blocks[0].parameters())
    for name, value in visual.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_patch_dropout_acts_in_training_only(visual, images):
    drop = PatchDropoutWithIndices if isinstance(visual.trunk, Eva) else PatchDropout
    visual.trunk.patch_drop = drop(0.5, num_prefix_tokens=visual.trunk.num_prefix_tokens)
    counts = []
    visual.trunk.blocks[-1].register_forward_pre_hook(
        lambda module, args: counts.append(args[0].shape[1])
    )
    outside = visual.trunk.num_prefix_tokens
    timm_vit_global(visual.eval(), images)
    timm_vit_global(visual.train(), images)
    assert counts == [outside + 18, outside + 9]


def test_attentions_of_other_towers_are_named(images):
    last_block = LastBlock("none", False, "self_calibrated")
    with pytest.raises(ValueError, match="attention='self_calibrated' needs .*VisionTransformer;"):
        timm_vit_dense(build_timm_visual("EVA02").double(), images, last_block)


def test_unknown_blocks_are_named(images):
    visual = build_timm_visual("SigLIP").double()
    visual.trunk.blocks[-1].__class__ = type("Parallel", (nn.Module,), {"forward": lambda s, x: x})
    assert timm_vit_dense(visual, images).shape == (2, 32, *GRID)
    with pytest.raises(ValueError, match="attention='qq'.*timm's Parallel are unknown"):
        timm_vit_dense(visual, images, LastBlock(attention="qq"))
    with pytest.raises(ValueError, match="keys needs .* not Parallel"):
        timm_vit_dense_and_keys(visual, images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_embed": nn.Identity()}, "embeds its patches by a Identity"),
        ({"attn_pool": nn.Identity()}, "pools by a Identity"),
        (
            {"attn_pool": AttentionPoolLatent(32, feat_size=16, pos_embed="abs")},
            "AttentionPoolLatent whose output depends on",
        ),
        ({"attn_pool": None, "global_pool": ""}, "does not pool"),
    ],
)
def test_check_refuses_other_parts(change, message):
    visual = build_timm_visual("SigLIP")
    check_timm_vit(visual)
    for name, value in change.items():
        setattr(visual.trunk, name, value)
    with pytest.raises(ValueError, match=message):
        check_timm_vit(visual)


@torch.no_grad()
def test_fastvit_takes_the_path_of_convnext():
    visual = build_timm_visual("FastViT")
    kind = image_tower_kind(visual)
    geometry = kind.geometry(visual)
    assert geometry.patch_size == (32, 32)
    images = torch.randn(2, 3, 64, 96)
    feats = kind.dense(visual, images, LastBlock(), False)
    assert feats.shape == (2, DIM, 2, 3)
    torch.testing.assert_close(feats.mean(dim=(2, 3)), visual(images))
    with pytest.raises(ValueError, match="those of a FastViT stay as they are"):
        kind.dense(visual, images, LastBlock(attention="kk"), False)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near(visual, dtype):
    images = torch.randn(1, 3, *SIZE)
    expected = timm_vit_dense(visual.float(), images, LastBlock(attention="kk"))
    feats = timm_vit_dense(visual.to(dtype), images.to(dtype), LastBlock(attention="kk"))
    assert feats.dtype == dtype
    assert F.cosine_similarity(feats.float(), expected, dim=1).min() > 0.98
    timm_vit_global(visual, images.to(dtype))
