"""Attention to texts against finite differences of the cosine."""

from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F

from ovseg_d2.clip import CLIPTower, attention_to_texts


@pytest.fixture
def tower(tiny_clip_config: dict[str, Any]) -> CLIPTower:
    model = open_clip.CLIP(**tiny_clip_config).double().eval()
    with torch.no_grad():
        for parameter in model.visual.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)


@torch.no_grad()
def by_differences(tower: CLIPTower, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The expected map of one text, by finite differences of each attention weight."""
    visual = tower.model.visual
    seen = {}
    last = visual.transformer.resblocks[-1]
    hook = last.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    visual(image)
    hook.remove()
    x = seen["x"]
    normed = last.ln_1(x)
    _, weights = last.attn(normed, normed, normed, average_attn_weights=False)
    width = last.attn.embed_dim
    values = (
        normed @ last.attn.in_proj_weight[2 * width :].t() + last.attn.in_proj_bias[2 * width :]
    )

    def cosine(of_class: torch.Tensor) -> torch.Tensor:  # (heads, 1 + N)
        parts = values[0].unflatten(1, (len(of_class), -1))  # (1 + N, heads, .)
        gathered = torch.cat([w @ parts[:, head] for head, w in enumerate(of_class)])
        token = x[0, 0] + last.attn.out_proj(gathered)
        token = token + last.mlp(last.ln_2(token))
        return F.normalize(visual.ln_post(token) @ visual.proj, dim=0) @ text

    of_class = weights[0, :, 0]
    assert torch.allclose(cosine(of_class), tower.encode_image(image)[0] @ text)
    speaks = torch.zeros_like(of_class)
    for head in range(of_class.shape[0]):
        for place in range(of_class.shape[1]):
            step = torch.zeros_like(of_class)
            step[head, place] = 1e-5
            slope = (cosine(of_class + step) - cosine(of_class - step)) / 2e-5
            speaks[head, place] = max(slope * of_class[head, place], 0)
    return speaks.mean(dim=0)[1:]


def test_attention_to_texts_equals_finite_differences(tower):
    image = torch.randn(1, 3, 32, 32).double()
    texts = F.normalize(torch.randn(2, 32).double(), dim=1)
    found = attention_to_texts(tower, image, texts)
    assert found.shape == (2, 4, 4) and not found.requires_grad
    for own, text in zip(found, texts, strict=True):
        expected = by_differences(tower, image, text).view(4, 4)
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-9)


def test_attention_to_texts_leaves_no_gradients(tower):
    tower.requires_grad_(False)
    with torch.no_grad():
        found = attention_to_texts(tower, torch.randn(1, 3, 32, 32).double(), torch.eye(32)[:1])
    assert found.max() > 0
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_attention_to_texts_refuses_towers_without_class_token(tiny_clip_config):
    vision = tiny_clip_config["vision_cfg"] | {"pool_type": "avg"}
    model = open_clip.CLIP(**(tiny_clip_config | {"vision_cfg": vision}))
    tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(
        ValueError, match="VisionTransformer, does not pool by a class token .*no attention"
    ):
        attention_to_texts(tower, torch.zeros(1, 3, 32, 32), torch.eye(32)[:1])
