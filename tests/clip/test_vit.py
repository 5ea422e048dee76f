import itertools
import math

import pytest
import torch
from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer
from torch import nn

from ovseg_d2.clip import LastBlock
from ovseg_d2.clip.vit import check_vit, vit_dense, vit_dense_and_keys, vit_global, vit_tokens

PUBLISHED = {
    "CLIP": LastBlock(attention="full"),
    "MaskCLIP": LastBlock(),
    "PixelCLIP": LastBlock(residual="class_token"),
    "SCLIP": LastBlock(attention="qq+kk"),
    "ClearCLIP": LastBlock(residual="none", mlp=False, attention="qq"),
    "NACLIP": LastBlock(residual="none", mlp=False, attention="neighbourhood_kk"),
}
VISION_CONFIGS = {
    "plain": {},
    "layer scale": {"ls_init_value": 0.5},
    "no ln_pre": {"no_ln_pre": True},
    "average pool": {"pool_type": "avg"},
    "norm after pool": {"pool_type": "avg", "final_ln_after_pool": True},
    "norm after class token": {"final_ln_after_pool": True},
    "one block": {"layers": 1},
    "wide image": {"image_size": (16, 40)},
    "custom block": {"qk_norm": True},
}


def slow_norm(x, weights, name):
    centred = x - x.mean()
    scaled = centred / torch.sqrt((centred**2).mean() + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def slow_mlp(x, weights, prefix):
    hidden = weights[f"{prefix}mlp.c_fc.weight"] @ x + weights[f"{prefix}mlp.c_fc.bias"]
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return weights[f"{prefix}mlp.c_proj.weight"] @ hidden + weights[f"{prefix}mlp.c_proj.bias"]


def slow_attention(normed, weights, prefix, heads, grid, last_block):
    """Mix the value vectors of tokens, a list of (C,), one head and one location at a time.

    The tokens are patches; one more is the class token, the first.
    """
    width = len(normed[0])
    in_weight = weights[f"{prefix}attn.in_proj_weight"]
    in_bias = weights[f"{prefix}attn.in_proj_bias"]
    parts = {}
    for i, name in enumerate("qkv"):
        rows = slice(i * width, (i + 1) * width)
        parts[name] = torch.stack([in_weight[rows] @ x + in_bias[rows] for x in normed])
    head_width = width // heads
    places = list(itertools.product(range(grid[0]), range(grid[1])))
    places = [None] * (len(normed) - len(places)) + places
    kinds = {"value": [], "neighbourhood_kk": ["k"], "qq": ["q"], "kk": ["k"], "qq+kk": ["q", "k"]}
    mixed = []
    for i in range(len(normed)):
        if last_block.attention == "value":
            mixed.append(parts["v"][i])
            continue
        out = torch.zeros_like(normed[0])
        for head, kind in itertools.product(range(heads), kinds[last_block.attention]):
            channels = slice(head * head_width, (head + 1) * head_width)
            a = parts[kind][:, channels]
            logits = torch.stack([a[i] @ a[j] / math.sqrt(head_width) for j in range(len(normed))])
            if last_block.attention == "neighbourhood_kk":
                for j, place in enumerate(places):
                    if None in (place, places[i]):
                        continue
                    squared = (place[0] - places[i][0]) ** 2 + (place[1] - places[i][1]) ** 2
                    logits[j] += math.exp(-squared / (2 * last_block.neighbourhood_std**2))
            probs = logits.exp() / logits.exp().sum()
            out[channels] += (probs[:, None] * parts["v"][:, channels]).sum(dim=0)
        mixed.append(out)
    out_weight = weights[f"{prefix}attn.out_proj.weight"]
    return [out_weight @ x + weights[f"{prefix}attn.out_proj.bias"] for x in mixed]


def slow_dense(visual, image, last_block, class_key=False):
    """Dense features of one image of native size, location by location from the raw weights.

    With ``class_key`` the class token is among the keys.
    What enters the last block is taken from open_clip's own intermediates.
    """
    weights = {key: value.detach() for key, value in visual.state_dict().items()}
    layers = len(visual.transformer.resblocks)
    intermediates = visual.forward_intermediates(
        image[None], indices=[layers - 2], output_fmt="NLC", output_extra_tokens=True
    )
    class_token = intermediates["image_intermediates_prefix"][0][0, 0]
    patches = intermediates["image_intermediates"][0][0]
    prefix = f"transformer.resblocks.{layers - 1}."
    heads = visual.transformer.resblocks[-1].attn.num_heads
    scale_1 = weights.get(f"{prefix}ls_1.gamma", 1.0)
    scale_2 = weights.get(f"{prefix}ls_2.gamma", 1.0)
    normed = [slow_norm(x, weights, f"{prefix}ln_1") for x in patches]
    out = []
    attending = [slow_norm(class_token, weights, f"{prefix}ln_1")] * class_key + normed
    attended = slow_attention(attending, weights, prefix, heads, visual.grid_size, last_block)
    attended = attended[int(class_key) :]
    for patch, value in zip(patches, attended, strict=True):
        x = scale_1 * value
        if last_block.residual == "own":
            x = x + patch
        if last_block.residual == "class_token":
            x = x + class_token
        if last_block.mlp:
            x = x + scale_2 * slow_mlp(slow_norm(x, weights, f"{prefix}ln_2"), weights, prefix)
        out.append(slow_norm(x, weights, "ln_post") @ weights["proj"])
    return torch.stack(out, dim=1).unflatten(1, visual.grid_size)


@pytest.mark.parametrize("vision", VISION_CONFIGS.values(), ids=VISION_CONFIGS)
def test_global_equals_open_clip(build_model, vision):
    visual = build_model(vision=vision).visual
    images = torch.randn(3, 3, *visual.image_size)
    torch.testing.assert_close(vit_global(visual, images), visual(images), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_attention_pooled_tower(build_model):
    """CoCa's: its vector equals open_clip's; a location's is that of an image of that location."""
    visual = build_model(vision={"attentional_pool": True, "attn_pooler_heads": 4}).visual
    images = torch.randn(2, 3, 32, 48)
    native = images[..., :32]
    torch.testing.assert_close(vit_global(visual, native), visual(native), rtol=1e-5, atol=1e-5)
    dense = vit_dense(visual, images)
    tokens, grid = vit_tokens(visual, images)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    for place in range(24):
        alone = last(tokens[:, 1 + place : 2 + place])
        expected = visual._pool(alone)[0] @ visual.proj
        found = dense.flatten(2)[:, :, place]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert grid == (4, 6)


def test_towers_that_pool_twice_are_refused(build_model):
    visual = build_model(vision={"attentional_pool": "parallel", "attn_pooler_heads": 4}).visual
    with pytest.raises(ValueError, match="pools with attention twice"):
        check_vit(visual)


@pytest.mark.parametrize("vision", VISION_CONFIGS.values(), ids=VISION_CONFIGS)
def test_full_dense_equals_open_clips_tokens(build_model, vision):
    visual = build_model(vision={**vision, "output_tokens": True}).visual
    images = torch.randn(2, 3, *visual.image_size)
    _, tokens = visual(images)
    if visual.final_ln_after_pool:  # there open_clip gives its tokens before ln_post
        tokens = visual.ln_post(tokens)
    if visual.pool_type == "tok":
        assert tokens.shape[1] == math.prod(visual.grid_size)
    expected = (tokens @ visual.proj).transpose(1, 2).unflatten(2, visual.grid_size)
    feats = vit_dense(visual, images, LastBlock(attention="full"))
    torch.testing.assert_close(feats, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("vision", ["plain", "layer scale", "wide image", "norm after pool"])
@pytest.mark.parametrize("mlp", [True, False])
@pytest.mark.parametrize("residual", ["own", "class_token", "none"])
def test_value_path_equals_a_computation_by_location(build_model, residual, mlp, vision):
    visual = build_model(vision=VISION_CONFIGS[vision]).visual.double()
    images = torch.randn(2, 3, *visual.image_size, dtype=torch.float64)
    last_block = LastBlock(residual=residual, mlp=mlp)
    feats = vit_dense(visual, images, last_block)
    for image, own_feats in zip(images, feats, strict=True):
        torch.testing.assert_close(own_feats, slow_dense(visual, image, last_block))


@pytest.mark.parametrize(
    "last_block",
    [
        LastBlock(attention="qq"),
        LastBlock(attention="kk"),
        LastBlock(attention="qq+kk"),
        LastBlock(residual="class_token", attention="qq+kk"),
        LastBlock(residual="none", mlp=False, attention="qq"),
        LastBlock(residual="none", mlp=False, attention="neighbourhood_kk"),
        LastBlock(attention="neighbourhood_kk", neighbourhood_std=0.7),
    ],
    ids=lambda last_block: f"{last_block.attention}, {last_block.residual}",
)
def test_attention_variants_equal_a_computation_by_location(build_model, last_block):
    visual = build_model(vision={"image_size": (16, 40)}).visual.double()
    image = torch.randn(3, 16, 40, dtype=torch.float64)
    feats = vit_dense(visual, image[None], last_block)[0]
    torch.testing.assert_close(feats, slow_dense(visual, image, last_block))
    official = vit_dense(visual, image[None], last_block, official=True)[0]
    torch.testing.assert_close(official, slow_dense(visual, image, last_block, class_key=True))
    assert not torch.allclose(feats, official, atol=1e-3)


def test_official_value_path_is_the_plain_one(build_model):
    visual, images = build_model().visual, torch.randn(1, 3, 21, 33)
    for name in ("CLIP", "MaskCLIP", "PixelCLIP"):
        plain, official = (vit_dense(visual, images, PUBLISHED[name], on) for on in (False, True))
        assert torch.equal(plain, official), name


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_keys_equal_a_computation_by_location(build_model, last_block, official):
    visual = build_model(vision={"image_size": (16, 40)}).visual.double()
    images = torch.randn(2, 3, 16, 40, dtype=torch.float64)
    feats, keys = vit_dense_and_keys(visual, images, last_block, official)
    assert torch.equal(feats, vit_dense(visual, images, last_block, official))
    assert keys.shape == (2, 32, 2, 5)
    weights = {key: value.detach() for key, value in visual.state_dict().items()}
    prefix = "transformer.resblocks.1."
    entering = visual.forward_intermediates(images, indices=[0], output_fmt="NLC")
    for own_keys, patches in zip(keys, entering["image_intermediates"][0], strict=True):
        for place, patch in enumerate(patches):
            normed = slow_norm(patch, weights, f"{prefix}ln_1")
            key = weights[f"{prefix}attn.in_proj_weight"][32:64] @ normed
            key = key + weights[f"{prefix}attn.in_proj_bias"][32:64]
            if official:
                key = weights[f"{prefix}attn.out_proj.weight"] @ key
                key = key + weights[f"{prefix}attn.out_proj.bias"]
            torch.testing.assert_close(own_keys.flatten(1)[:, place], key)


def test_keys_refuse_custom_blocks(build_model):
    visual = build_model(vision={"qk_norm": True}).visual
    with pytest.raises(ValueError, match="asking for keys needs .* do without keys"):
        vit_dense_and_keys(visual, torch.randn(1, 3, 32, 32), LastBlock(attention="full"))


def test_published_methods_differ_from_each_other(build_model):
    visual = build_model().visual
    images = torch.randn(1, 3, 32, 32)
    feats = {name: vit_dense(visual, images, block) for name, block in PUBLISHED.items()}
    for a, b in itertools.combinations(feats, 2):
        assert not torch.allclose(feats[a], feats[b], atol=1e-3), f"{a} equals {b}"


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (8, 8), (64, 16)])
def test_other_sizes_equal_a_tower_built_for_them(build_model, size):
    """The grids 3x5 and 5x3 tell rows from columns; 8x2 has as many patches as the native 4x4."""
    visual = build_model().visual
    other = build_model(vision={"image_size": size, "output_tokens": True}).visual
    weights = visual.state_dict()
    positions = weights["positional_embedding"]
    maps = nn.functional.interpolate(
        positions[1:].T.reshape(1, 32, 4, 4), size=other.grid_size, mode="bicubic"
    )
    weights["positional_embedding"] = torch.cat([positions[:1], maps[0].flatten(1).T])
    other.load_state_dict(weights)
    images = torch.randn(2, 3, *size)
    pooled, tokens = other(images)
    torch.testing.assert_close(vit_global(visual, images), pooled, rtol=1e-5, atol=1e-5)
    feats = vit_dense(visual, images, LastBlock(attention="full"))
    expected = (tokens @ other.proj).transpose(1, 2).unflatten(2, other.grid_size)
    torch.testing.assert_close(feats, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_vit_pads_to_whole_patches_with_zeros(build_model, last_block):
    visual = build_model().visual
    images = torch.randn(2, 3, 21, 33)
    padded = torch.zeros(2, 3, 24, 40)
    padded[:, :, :21, :33] = images
    feats = vit_dense(visual, images, last_block)
    assert feats.shape == (2, 32, 3, 5)
    assert torch.equal(feats, vit_dense(visual, padded, last_block))
    assert torch.equal(vit_global(visual, images), vit_global(visual, padded))


def test_tokens_come_with_their_grid(build_model):
    visual = build_model(vision={"patch_size": 16}).visual
    tokens, grid = vit_tokens(visual, torch.randn(2, 3, 50, 20))
    assert grid == (4, 2)
    assert tokens.shape == (2, 1 + 8, 32)


@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_vit_images_of_a_batch_are_independent(build_model, last_block):
    visual = build_model().visual
    images = torch.randn(3, 3, 32, 40)
    feats = vit_dense(visual, images, last_block)
    alone = torch.cat([vit_dense(visual, image[None], last_block) for image in images])
    torch.testing.assert_close(feats, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_vit_of_an_empty_batch(build_model, last_block):
    visual = build_model().visual
    assert vit_dense(visual, torch.zeros(0, 3, 32, 40), last_block).shape == (0, 32, 4, 5)
    assert vit_global(visual, torch.zeros(0, 3, 32, 40)).shape == (0, 32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_vit_keeps_the_dtype(build_model, last_block, dtype):
    visual = build_model().visual
    images = torch.randn(2, 3, 40, 24)
    exact, exact_global = vit_dense(visual, images, last_block), vit_global(visual, images)
    visual.to(dtype)
    feats, pooled = (
        vit_dense(visual, images.to(dtype), last_block),
        vit_global(visual, images.to(dtype)),
    )
    assert feats.dtype == dtype
    assert pooled.dtype == dtype
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    scale = exact.abs().max()
    assert (feats.float() - exact).abs().max() < tolerance * scale
    assert (pooled.float() - exact_global).abs().max() < tolerance * exact_global.abs().max()


@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_vit_runs_on_the_device_of_inputs(build_model, last_block):
    """On the meta device anything that is made on another one is an error."""
    visual = build_model().visual.to("meta")
    feats = vit_dense(visual, torch.randn(2, 3, 40, 24, device="meta"), last_block)
    assert feats.device.type == "meta"
    assert feats.shape == (2, 32, 5, 3)


def test_vit_works_under_autocast(build_model):
    visual = build_model().visual
    images = torch.randn(2, 3, 40, 24)
    exact = vit_dense(visual, images)
    with torch.autocast("cpu", torch.bfloat16):
        feats = vit_dense(visual, images)
    assert (feats.float() - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_gradient_reaches_what_the_features_depend_on(build_model, last_block):
    visual = build_model().visual.train()
    vit_dense(visual, torch.randn(2, 3, 24, 40), last_block).square().sum().backward()
    untouched = {name for name, p in visual.named_parameters() if p.grad is None}
    last = "transformer.resblocks.1."
    mlp = {f"{last}{name}" for name, _ in visual.transformer.resblocks[1].named_parameters()}
    mlp = {name for name in mlp if ".mlp." in name or ".ln_2." in name}
    assert untouched == (set() if last_block.mlp else mlp)
    rows = visual.transformer.resblocks[1].attn.in_proj_weight.grad.abs().sum(dim=1)
    used = {part: bool((r > 0).all()) for part, r in zip("qkv", rows.split(32), strict=True)}
    attention = {"full": "qk", "value": "", "qq": "q", "qq+kk": "qk", "neighbourhood_kk": "k"}
    assert "".join(k for k, v in used.items() if v) == attention[last_block.attention] + "v"


@pytest.mark.parametrize("function", [vit_dense, vit_global])
def test_gradient_checkpointing_changes_nothing(build_model, function):
    visual = build_model(vision={"layers": 3}).visual.train()
    images = torch.randn(2, 3, 32, 32)
    grads = []
    for enabled in (False, True):
        visual.set_grad_checkpointing(enabled)
        visual.zero_grad()
        function(visual, images).square().sum().backward()
        grads.append([p.grad.clone() for p in visual.parameters() if p.grad is not None])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_gradient_of_global_features_equals_open_clips(build_model):
    visual = build_model().visual.train()
    images = torch.randn(2, 3, 32, 32)
    grads = []
    for encode in (visual, lambda x: vit_global(visual, x)):
        visual.zero_grad()
        encode(images).square().sum().backward()
        grads.append([p.grad.clone() for p in visual.parameters()])
    for theirs, ours in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_patch_dropout_drops_from_global_features_only(build_model):
    visual = build_model(vision={"patch_dropout": 0.5}).visual
    images = torch.randn(2, 3, 32, 32)
    feats = vit_dense(visual, images)
    visual.train()
    torch.manual_seed(3)
    expected = visual(images)
    torch.manual_seed(3)
    torch.testing.assert_close(vit_global(visual, images), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(vit_dense(visual, images), feats, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last_block", PUBLISHED.values(), ids=PUBLISHED)
def test_sequence_first_transformers_give_the_same(build_model, last_block):
    visual = build_model().visual
    images = torch.randn(2, 3, 32, 40)
    expected, expected_global = vit_dense(visual, images, last_block), vit_global(visual, images)
    visual.transformer.batch_first = False
    for block in visual.transformer.resblocks:
        block.attn.batch_first = False
    torch.testing.assert_close(
        vit_dense(visual, images, last_block), expected, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(vit_global(visual, images), expected_global, rtol=1e-5, atol=1e-5)


def test_tower_without_projection_keeps_its_width(build_model):
    visual = build_model(vision={"width": 48}).visual
    visual.proj = None
    assert vit_dense(visual, torch.randn(1, 3, 16, 24)).shape == (1, 48, 2, 3)
    assert vit_global(visual, torch.randn(1, 3, 16, 24)).shape == (1, 48)


def test_dense_refuses_custom_blocks(build_model):
    visual = build_model(vision={"qk_norm": True}).visual
    with pytest.raises(ValueError, match="not CustomResidualAttentionBlock; use attention"):
        vit_dense(visual, torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(
    "subcase", ["native", "larger", "native_heads4", "larger_heads4", "smaller"]
)
def test_parity_with_pixelclip(parity, subcase):
    case = parity("pixelclip_dense_vit")
    ran = 0
    for kind in ("dense", "global"):
        call = case.subcases.get(f"{kind}_{subcase}")
        if call is None:
            continue
        visual = _official_tower(case, call.args["heads"], QuickGELU, eps=1e-5)
        if kind == "dense":
            feats = vit_dense(visual, call.inputs["image"], LastBlock(residual="class_token"))
            call.check("features", feats.permute(0, 2, 3, 1))
        else:
            call.check("features", vit_global(visual, call.inputs["image"]))
        ran += 1
    assert ran > 0


@pytest.mark.parametrize(
    "subcase",
    [
        "native",
        "wide_larger",
        "not_multiple_of_patch",
        "clip_activation",
        "prompt_denoising",
        "key_smoothing_all",
        "key_smoothing_some",
        "both",
    ],
)
def test_parity_with_maskclip(parity, official_smoothing, subcase):
    case = parity("maskclip_vit")
    call = case.subcases[subcase]
    activation = {"gelu": nn.GELU, "quick_gelu": QuickGELU}[call.args["activation"]]
    visual = _official_tower(case, case.construct["heads"], activation, eps=call.args["ln_eps"])
    images = (call.inputs["image"].float() - call.args["mean"]) / call.args["std"]
    feats, keys = vit_dense_and_keys(visual, images, LastBlock(), official=True)
    call.check("features", feats)
    smoothed = official_smoothing(call, keys)
    if smoothed is not None:
        call.check("logits", smoothed)


def _official_tower(case, heads, activation, eps):
    def norm(width):
        return LayerNorm(width, eps=eps)

    construct = case.construct
    visual = VisionTransformer(
        image_size=construct["image_resolution"],
        patch_size=construct["patch_size"],
        width=construct["width"],
        layers=construct["layers"],
        heads=heads,
        mlp_ratio=4.0,
        output_dim=construct["embed_dim"],
        act_layer=activation,
        norm_layer=norm,
    )
    prefix = "visual."
    weights = {k.removeprefix(prefix): v for k, v in case.weights.items() if k.startswith(prefix)}
    visual.load_state_dict(weights)
    return visual.eval()


def test_attention_only_is_a_mean_of_projected_values():
    torch.manual_seed(0)
    visual = VisionTransformer(16, 8, 32, 2, 4, 4.0, output_dim=12).eval()
    images = torch.randn(2, 3, 16, 16)
    chosen = torch.tensor([True, False])
    with torch.no_grad():
        found = vit_global(visual, images, chosen)
        tokens = visual.transformer.resblocks[0](vit_tokens(visual, images)[0])
        last = visual.transformer.resblocks[1]
        normed = last.ln_1(tokens)
        gathered = last.attn(normed, normed, normed, need_weights=False)[0][:, 0]
        torch.testing.assert_close(found[0], visual.ln_post(gathered[0]) @ visual.proj)
        torch.testing.assert_close(found[1], vit_global(visual, images)[1])
        pooled = VisionTransformer(16, 8, 32, 2, 4, 4.0, output_dim=12, pool_type="avg").eval()
        with pytest.raises(ValueError, match="pools by its class token"):
            vit_global(pooled, images, chosen)
