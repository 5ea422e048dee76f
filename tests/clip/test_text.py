import pytest
import torch

from ovseg_d2.clip import text

SENTENCES = ["a cat", "a photo of a large red striped star on grass", "", "sand"]
END = 49407

TEXT_CONFIGS = {
    "CLIP": {},
    "custom text": {"custom_text": True},
    "biased projection": {"custom_text": True, "text": {"proj_bias": True}},
    "no projection": {"custom_text": True, "text": {"proj_type": "none"}},
    "end token by id": {"text": {"pool_type": "eos", "eos_id": END}},
    "end token by id, custom text": {
        "custom_text": True,
        "text": {"pool_type": "eos", "eos_id": END},
    },
    "first token": {"text": {"pool_type": "first"}},
    "last token": {"text": {"pool_type": "last"}},
    "both directions": {"text": {"no_causal_mask": True}},
    "both directions, last token": {
        "custom_text": True,
        "text": {"no_causal_mask": True, "pool_type": "last"},
    },
    "layer scale": {"text": {"ls_init_value": 0.5}},
    "custom block": {"text": {"qk_norm": True}},
}


def encode(model, token_ids):
    tower = text.text_tower(model)
    return text.encode_token_embeds(tower, text.embed_tokens(tower, token_ids), token_ids)


@pytest.mark.parametrize("config", TEXT_CONFIGS.values(), ids=TEXT_CONFIGS)
def test_text_equals_open_clip(build_model, tokenizer, config):
    model = build_model(**config)
    token_ids = tokenizer(SENTENCES)
    expected = model.encode_text(token_ids)
    assert expected.shape == (4, 32)
    torch.testing.assert_close(encode(model, token_ids), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "length"),
    [("CLIP", 12), ("end token by id", 12), ("first token", 1), ("last token", 77)]
    + [("both directions", 77)],
)
def test_causal_texts_are_cut_at_the_longest_text(build_model, tokenizer, config, length):
    model = build_model(**TEXT_CONFIGS[config])
    seen = []
    model.transformer.resblocks[0].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape[1])
    )
    encode(model, tokenizer(SENTENCES))
    assert seen == [length]


def test_gradient_equals_open_clips(build_model, tokenizer):
    model = build_model().train()
    token_ids = tokenizer(SENTENCES)
    grads = []
    for function in (model.encode_text, lambda ids: encode(model, ids)):
        model.zero_grad()
        function(token_ids).square().sum().backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    theirs, ours = grads
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-4)


def test_gradient_checkpointing_and_sequence_first_change_nothing(build_model, tokenizer):
    model = build_model()
    token_ids = tokenizer(SENTENCES)
    expected = encode(model, token_ids)
    model.set_grad_checkpointing(True)
    torch.testing.assert_close(encode(model, token_ids), expected, rtol=1e-5, atol=1e-5)
    model.transformer.batch_first = False
    for block in model.transformer.resblocks:
        block.attn.batch_first = False
    torch.testing.assert_close(encode(model, token_ids), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_text_keeps_the_dtype(build_model, tokenizer, dtype):
    model = build_model()
    token_ids = tokenizer(SENTENCES)
    exact = encode(model, token_ids)
    embeds = encode(model.to(dtype), token_ids)
    assert embeds.dtype == dtype
    tolerance = 0.1 if dtype == torch.bfloat16 else 1e-4
    assert (embeds.float() - exact).abs().max() < tolerance * exact.abs().max()


def test_text_of_an_empty_batch(build_model):
    assert encode(build_model(), torch.zeros(0, 77, dtype=torch.long)).shape == (0, 32)


def test_parity_with_pixelclips_class_text(parity, build_model):
    """The official text tower, reached through our seam; PixelCLIP's prompts are tested there."""
    case = parity("pixelclip_prompts")
    construct = case.construct
    width, dim = construct["text_width"], construct["embed_dim"]
    model = build_model(
        embed_dim=dim,
        quick_gelu=True,
        text={"width": width, "heads": width // 64, "layers": construct["text_layers"]},
    )
    prefix = "clip_model."
    weights = {k.removeprefix(prefix): v for k, v in case.weights.items() if k.startswith(prefix)}
    own = {k for k in model.state_dict() if not k.startswith(("visual.", "logit_scale"))}
    model.load_state_dict({k: weights[k] for k in own}, strict=False)
    call = case.subcases["class_text"]
    features = []
    for token_ids in call.outputs.list("tokens"):
        names = torch.nn.functional.normalize(encode(model, token_ids.long()), dim=-1)
        features.append(torch.nn.functional.normalize(names.mean(dim=0, keepdim=True), dim=-1))
    call.check("text_features", torch.stack(features))
