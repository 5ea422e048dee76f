"""Tokens of both halves equal open_clip's; dropped patches have no effect."""

from typing import Any

import open_clip
import pytest
import torch

from ovseg_d2.clip import (
    CLIPTower,
    encode_image_tokens,
    encode_text_tokens,
    image_heads,
    text_heads,
    token_table,
    word_tokens,
)


@pytest.fixture
def tower(tiny_clip_config: dict[str, Any]) -> CLIPTower:
    model = open_clip.CLIP(**tiny_clip_config, output_dict=True).eval()
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)


def test_image_tokens_equal_open_clip(tower):
    images = torch.randn(2, 3, 32, 32)
    tokens, grid = encode_image_tokens(tower.model.visual, images)
    assert grid == (4, 4) and tokens.shape == (2, 17, 32)
    tower.model.visual.output_tokens = True
    pooled, patches = tower.model.visual(images)
    torch.testing.assert_close(tokens[:, 1:], patches)
    torch.testing.assert_close(tokens[:, 0] @ tower.model.visual.proj, pooled)


def test_dropped_patches_have_no_effect(tower):
    images = torch.randn(2, 3, 32, 32)
    kept_ids = torch.tensor([[0, 5, 6], [2, 3, 15]])
    tokens, grid = encode_image_tokens(tower.model.visual, images, kept_ids)
    assert grid == (4, 4) and tokens.shape == (2, 4, 32)
    changed = images.clone()
    for image, kept in enumerate(kept_ids.tolist()):
        for place in set(range(16)) - set(kept):
            y, x = 8 * (place // 4), 8 * (place % 4)
            changed[image, :, y : y + 8, x : x + 8] = torch.randn(3, 8, 8)
    torch.testing.assert_close(
        encode_image_tokens(tower.model.visual, changed, kept_ids)[0], tokens
    )
    # Kept patches keep their positions: all of them are the whole image, in the given order.
    order = torch.randperm(16)[None].expand(2, 16)
    whole, _ = encode_image_tokens(tower.model.visual, images)
    shuffled, _ = encode_image_tokens(tower.model.visual, images, order)
    torch.testing.assert_close(shuffled[:, 1:], whole[:, 1:][:, order[0]])


def test_encode_image_tokens_refuses_other_towers(tiny_clip_config):
    vision = {"layers": [1, 1, 1, 1], "width": 4, "head_width": 32, "image_size": 64}
    config = tiny_clip_config | {"vision_cfg": tiny_clip_config["vision_cfg"] | vision}
    with pytest.raises(ValueError, match="is a ModifiedResNet, which has no patch tokens"):
        encode_image_tokens(open_clip.CLIP(**config).visual, torch.zeros(1, 3, 64, 64))


def test_pooled_text_token_equals_encode_text(tower):
    token_ids = tower.tokenize(["a red star", "grass"])
    feats = encode_text_tokens(tower, tower.embed_tokens(token_ids))
    assert feats.shape == (2, 77, 32)
    ends = token_ids.argmax(dim=1)
    pooled = feats[torch.arange(2), ends] @ tower.model.text_projection
    torch.testing.assert_close(pooled, tower.encode_text(token_ids, unit_norm=False))


def test_word_tokens_lie_between_start_and_end(tower):
    words = word_tokens(tower, tower.tokenize(["a red star", "", "grass"]))
    assert words.sum(dim=1).tolist() == [3, 0, 1]
    assert words[0, :5].tolist() == [False, True, True, True, False]


def test_word_tokens_refuses_towers_without_an_end(tower):
    tower.model.text_pool_type = "last"
    with pytest.raises(ValueError, match="pools by 'last', so the end of its texts is unknown"):
        word_tokens(tower, tower.tokenize(["grass"]))


def test_sizes(tower):
    assert (image_heads(tower), text_heads(tower)) == (2, 2)
    assert token_table(tower).shape == (49408, 32)
