import json

import pytest
import torch
from open_clip import CoCa

from ovseg_d2.clip import load_clip, text, token_table, word_tokens

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
    "class token": {"custom_text": True, "text": {"embed_cls": True}},
    "class token, both directions": {
        "custom_text": True,
        "text": {"embed_cls": True, "no_causal_mask": True},
    },
}
# By the class of its transformer; widths and layers are tiny.
HF_CONFIGS = {
    "xlm-roberta": {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64},
    "roberta": {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64},
    "mt5": {"d_model": 32, "num_layers": 2, "d_kv": 16, "d_ff": 64, "num_heads": 2},
    "m2m_100": {
        **{"d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 64},
        **{"encoder_attention_heads": 2, "decoder_layers": 1, "max_position_embeddings": 100},
    },
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


def test_correct_mask_of_the_class_token_equals_open_clip(build_model, tokenizer):
    model = build_model(custom_text=True, text={"embed_cls": True})
    token_ids = tokenizer(SENTENCES)
    late = encode(model, token_ids)
    model.text.correct_cls_mask = True
    expected = model.encode_text(token_ids)
    torch.testing.assert_close(encode(model, token_ids), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(late, expected, atol=1e-4)


def test_coca_is_loaded_and_equals_open_clip(tmp_path, tiny_clip_config):
    tiny_clip_config["vision_cfg"].update(attentional_pool=True, attn_pooler_heads=4)
    tiny_clip_config["text_cfg"].update(embed_cls=True, context_length=20)
    for part in ("vision_cfg", "text_cfg"):
        tiny_clip_config[part]["output_tokens"] = True
    sizes = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    tiny_clip_config["multimodal_cfg"] = {**sizes, "attn_pooler_heads": 2}
    path = tmp_path / "coca.json"
    path.write_text(json.dumps(tiny_clip_config))
    tower = load_clip(str(path), "random")
    assert isinstance(tower.model, CoCa)
    token_ids = tower.tokenize(SENTENCES)
    images = torch.randn(2, 3, *tower.image_size)
    with torch.no_grad():
        for ours, theirs in (
            (tower.encode_text(token_ids), tower.model.encode_text(token_ids)),
            (tower.encode_image(images), tower.model.encode_image(images)),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert tower.dense_feats(torch.randn(1, 3, 50, 20)).shape == (1, 32, 7, 3)


@pytest.mark.parametrize("kind", HF_CONFIGS)
def test_text_encoders_of_transformers_equal_open_clip(
    tmp_path, tiny_clip_config, words_folder, kind
):
    sizes = {**HF_CONFIGS[kind], "model_type": kind, "vocab_size": 9, "pad_token_id": 0}
    sizes.setdefault("num_attention_heads", 2)
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(sizes))
    tiny_clip_config["text_cfg"] = {
        **{"hf_model_name": str(folder), "hf_tokenizer_name": words_folder},
        "hf_pooler_type": "cls_pooler" if kind == "m2m_100" else "mean_pooler",
    }
    path = tmp_path / "model.json"
    path.write_text(json.dumps(tiny_clip_config))
    tower = load_clip(str(path), "random")
    token_ids = tower.tokenize(["a cat", "a cat a dog", ""])
    assert token_ids.shape == (3, 77)
    with torch.no_grad():
        expected = tower.model.encode_text(token_ids, normalize=True)
        torch.testing.assert_close(tower.encode_text(token_ids), expected)
        assert token_table(tower).shape == (9, 32)
    with pytest.raises(ValueError, match="one of transformers, whose single tokens are not read"):
        word_tokens(tower, token_ids)
    # Its own file, whose text half has other names, is read again.
    tower.model.logit_scale.data.fill_(1.5)
    torch.save(tower.model.state_dict(), tmp_path / "model.pt")
    again = load_clip(str(path), tmp_path / "model.pt")
    with torch.no_grad():
        torch.testing.assert_close(again.encode_text(token_ids), expected)
    assert again.logit_scale == tower.logit_scale
