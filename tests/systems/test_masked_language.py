"""Masked language modelling: which words are hidden, by what, and who sees them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.clip import CLIPTower, word_tokens
from ovseg_d2.nets import TokenDecoder
from ovseg_d2.ops import draw_word_masks
from ovseg_d2.systems import MaskedLanguage

TEXTS = ["a red star on the green grass and the brown sand", "blue dots", "grass"]
Build = Callable[..., MaskedLanguage]


@pytest.fixture
def build(tower: CLIPTower) -> Build:
    def build(**options: Any) -> MaskedLanguage:
        decoder = TokenDecoder(32, tower.context_length, num_layers=2, num_heads=2)
        return MaskedLanguage(tower, decoder=decoder, **options)

    return build


def test_forward_equals_loops(build, tower):
    part = build(replace=(1.0, 0.0))
    token_ids = tower.tokenize(TEXTS)
    torch.manual_seed(3)
    masks = draw_word_masks(word_tokens(tower, token_ids)[:, :13], 0.2)
    assert masks.sum(dim=1).tolist() == [2, 1, 1]
    torch.manual_seed(3)
    loss = part(tower, token_ids)
    losses = []
    for row, mask in zip(token_ids, masks, strict=True):
        length = int(row.argmax()) + 1  # nothing behind the end plays a part
        ids = row[None, :length]
        embeds = tower.embed_tokens(ids)
        hidden = mask[:length].nonzero()[:, 0].tolist()
        for place in hidden:
            embeds[0, place] = part.mask_embedding
        model = tower.model
        feats = embeds + model.positional_embedding[:length]
        causal = torch.full((length, length), -torch.inf).triu(1)
        for block in model.transformer.resblocks:
            feats = block(feats, attn_mask=causal)
        decoded = part.decoder(model.ln_final(feats))
        logits = decoded @ model.token_embedding.weight.t() + part.bias
        losses += [F.cross_entropy(logits[:, place], ids[:, place]) for place in hidden]
    torch.testing.assert_close(loss, torch.stack(losses).mean(), atol=1e-4, rtol=1e-4)


def test_hide_replaces_words(build, tower):
    token_ids = tower.tokenize(["red star " * 30] * 40)
    masks = draw_word_masks(word_tokens(tower, token_ids), 0.5)
    part = build(replace=(0.6, 0.3))
    embeds = part.hide(tower, token_ids, masks)
    original = tower.embed_tokens(token_ids)
    stays = (embeds == original).all(dim=-1)
    masked = (embeds == part.mask_embedding).all(dim=-1)
    assert stays[~masks].all() and not masked[~masks].any()
    count = masks.sum()
    assert (masked.sum() / count).item() == pytest.approx(0.6, abs=0.05)
    assert (stays[masks].sum() / count).item() == pytest.approx(0.1, abs=0.05)
    exchanged = embeds[masks & ~masked & ~stays]
    table = tower.model.token_embedding.weight
    assert torch.cdist(exchanged[:20], table).min(dim=1).values.max() < 1e-3  # other words


def test_forward_trains_text_half_and_decoder(build, tower):
    part = build(replace=(1.0, 0.0))
    part(tower, tower.tokenize(TEXTS)).backward()
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert tower.model.token_embedding.weight.grad.abs().sum() > 0
    assert tower.model.transformer.resblocks[0].attn.in_proj_weight.grad.abs().sum() > 0
    assert tower.model.visual.conv1.weight.grad is None


def test_forward_without_words_is_zero(build, tower):
    part = build()
    loss = part(tower, tower.tokenize(["", ""]))
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in part.parameters())


def test_training_lowers_the_loss(build, tower):
    part = build()
    token_ids = tower.tokenize(TEXTS)
    optimizer = torch.optim.AdamW([*part.parameters(), *tower.parameters()], lr=3e-3)
    losses = []
    for _ in range(60):
        loss = part(tower, token_ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("replace", [(0.8,), (0.8, 0.3), (-0.1, 0.1)])
def test_refuses_replace(build, replace):
    with pytest.raises(ValueError, match="replace is .*; give the shares of words that are masked"):
        build(replace=replace)


def test_refuses_mask_ratio(build):
    with pytest.raises(ValueError, match="mask ratio is 1; give a share"):
        build(mask_ratio=1)
