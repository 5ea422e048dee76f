"""ClassPrompts and ClusterVectors: known tokens against words, with two tokenizers."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ovseg_d2.clip import CLIPTower
from ovseg_d2.text import ClassPrompts, ClusterVectors, get_templates

SCENE = "a photo of a {} in the scene"


class WordTokenizer:
    """A tokenizer unlike CLIP's: start 7, end 99, padding 5, and braces are tokens of their own."""

    def encode(self, text: str) -> list[int]:
        words = text.replace("{", " { ").replace("}", " } ").replace(".", " . ").split()
        return [10 + sum(map(ord, word)) * 7 % 80 for word in words]

    def __call__(self, texts: list[str], context_length: int) -> torch.Tensor:
        rows = [[7, *self.encode(text), 99] for text in texts]
        return torch.tensor([row + [5] * (context_length - len(row)) for row in rows])


@pytest.fixture
def other_tower(tiny_clip_config: dict[str, Any]) -> CLIPTower:
    text = {"context_length": 24, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1}
    model = open_clip.CustomTextCLIP(**(tiny_clip_config | {"text_cfg": text})).eval()
    nn.init.normal_(model.text.token_embedding.weight)
    return CLIPTower(model, WordTokenizer(), mean=(0.5,) * 3, std=(0.5,) * 3)


def embeds_of(tower: CLIPTower, name: str) -> torch.Tensor:
    """Embeddings of the tokens of a name, without start and end."""
    ids = torch.tensor(tower.tokenizer.encode(name))
    return tower.embed_tokens(ids[None])[0].detach()


@pytest.mark.parametrize("template", [SCENE, "a {}.", "{}", "the {}", "{} and one x of the x"])
def test_forward_of_known_tokens_encodes_the_words(tower, template):
    names = ["red star on grass", "the x photo a"]
    prompts = ClassPrompts(tower, num_clusters=2, length=4, templates=[template])
    prompts.token_embeds.data = torch.stack([embeds_of(tower, name) for name in names])
    texts = [template.replace("{}", name) for name in names]
    for unit_norm in (True, False):
        expected = tower.encode_text(tower.tokenize(texts), unit_norm=unit_norm)
        torch.testing.assert_close(prompts(tower, unit_norm=unit_norm), expected)


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("template", [SCENE, "{}", "the {}."])
def test_forward_with_another_tokenizer(other_tower, template, length):
    name = " ".join(["grass", "sand", "red", "star", "blue"][:length])
    prompts = ClassPrompts(other_tower, num_clusters=1, length=length, templates=[template])
    prompts.token_embeds.data = embeds_of(other_tower, name)[None]
    expected = other_tower.encode_text(other_tower.tokenize([template.replace("{}", name)]))
    torch.testing.assert_close(prompts(other_tower), expected)
    start = 1 + template.split().index("{}" if "{}" in template.split() else "{}.")
    assert prompts.places.tolist() == [list(range(start, start + length))]


def test_forward_averages_templates(tower):
    templates = get_templates("pixelclip")
    prompts = ClassPrompts(tower, num_clusters=3, length=2, templates="pixelclip")
    embeds = []
    for template in templates:
        single = ClassPrompts(tower, num_clusters=3, length=2, templates=[template])
        single.load_state_dict(prompts.state_dict())
        embeds.append(single(tower))
    mean = torch.stack(embeds).mean(dim=0)
    torch.testing.assert_close(prompts(tower), F.normalize(mean, dim=-1))
    torch.testing.assert_close(prompts(tower, unit_norm=False), mean)
    assert all((a - b).abs().max() > 1e-4 for a in embeds for b in embeds if a is not b)


def test_token_embeds_are_the_only_state(tower):
    tower.requires_grad_(False)
    prompts = ClassPrompts(tower, num_clusters=3, length=2)
    assert prompts.num_clusters == 3
    assert set(prompts.state_dict()) == {"token_embeds"}
    assert prompts.token_embeds.shape == (3, 2, 32)
    (prompts(tower) * torch.randn(3, 32)).sum().backward()
    assert (prompts.token_embeds.grad.abs().sum(dim=(1, 2)) > 0).all()
    assert tower.model.token_embedding.weight.grad is None


def test_forward_of_a_class_depends_on_its_name(tower):
    prompts = ClassPrompts(tower, num_clusters=3, length=2)
    before = prompts(tower).detach()
    with torch.no_grad():
        prompts.token_embeds[1] += torch.randn(2, 32)
    changed = (prompts(tower) - before).abs().amax(dim=1) > 1e-5
    assert changed.tolist() == [False, True, False]


def test_initial_names_are_tokens_of_words(tower):
    table = tower.model.token_embedding.weight
    ids = set(tower.tokenizer.encode("red star grass"))
    prompts = ClassPrompts(tower, num_clusters=20, length=3, words=["red star", "grass"])
    result = (prompts.token_embeds.detach()[:, :, None] == table[sorted(ids)]).all(dim=-1)
    assert result.any(dim=-1).all()
    assert result.flatten(0, 1).any(dim=0).all()
    # From the whole vocabulary otherwise: each is a row of the table, and they differ.
    prompts = ClassPrompts(tower, num_clusters=4, length=2)
    names = prompts.token_embeds.detach().flatten(0, 1)
    assert all((table == name).all(dim=1).any() for name in names)
    assert len(names.unique(dim=0)) > 4


def test_generator_repeats_the_names(tower):
    first, second, third = (
        ClassPrompts(tower, num_clusters=4, generator=torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.token_embeds, second.token_embeds)
    assert not torch.equal(first.token_embeds, third.token_embeds)


def test_learnable_false_has_no_gradient(tower):
    prompts = ClassPrompts(tower, num_clusters=2, learnable=False)
    assert not prompts.token_embeds.requires_grad
    assert set(prompts.state_dict()) == {"token_embeds"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 0}, "num_clusters is 0"),
        ({"length": 0}, "length 0"),
        ({"templates": ["no place"]}, "needs exactly one"),
        ({"templates": ["a{}b"]}, "put spaces around the {}"),
        ({"length": 80}, "shorten the template or the name"),
        ({"words": [""]}, "have no token"),
    ],
)
def test_class_prompts_refuse_options(tower, options, message):
    with pytest.raises(ValueError, match=message):
        ClassPrompts(tower, **options)


# --- clusters without a text encoder ---


@pytest.mark.parametrize("learnable", [True, False])
def test_cluster_vectors_have_unit_norm(tower, learnable):
    start = torch.tensor([[3.0, 4.0], [0.0, 0.5]])
    clusters = ClusterVectors(start, learnable=learnable)
    expected = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    torch.testing.assert_close(clusters(tower).detach(), expected)
    assert clusters.num_clusters == 2
    assert len(list(clusters.parameters())) == learnable
    assert set(clusters.state_dict()) == {"vectors"}
    start.zero_()
    assert clusters.vectors[0, 0] == 3


def test_cluster_vectors_refuse_shapes():
    with pytest.raises(ValueError, match=r"vectors have shape \(3,\); give \(P, D\)"):
        ClusterVectors(torch.ones(3), learnable=True)


# --- the official implementation ---


def official_tower(case: Any) -> CLIPTower:
    """The parity case's text tower; its image tower is a filler."""
    construct = case.construct
    model = open_clip.CLIP(
        embed_dim=construct["embed_dim"],
        vision_cfg={"image_size": 16, "patch_size": 8, "width": 64, "layers": 1},
        text_cfg={
            "width": construct["text_width"],
            "heads": construct.get("text_heads", construct["text_width"] // 64),
            "layers": construct["text_layers"],
        },
        quick_gelu="text_heads" not in construct,
    ).eval()
    prefix = "clip_model."
    text_keys = {
        k for k in model.state_dict() if not k.startswith("visual.") and k != "logit_scale"
    }
    missing, _ = model.load_state_dict(
        {k: case.weights[prefix + k] for k in text_keys}, strict=False
    )
    assert not text_keys & set(missing)
    return CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.5,) * 3)


def with_official_placeholder(prompts: ClassPrompts) -> torch.Tensor:
    """Token ids as the release has them, whose placeholder is "{}" itself."""
    return prompts.token_ids.scatter(1, prompts.places, 39025)


@pytest.mark.parametrize("case_name", ["pixelclip_prompts", "pixelclip_convnext"])
def test_forward_equals_the_official_code(parity: Callable[[str], Any], case_name: str) -> None:
    case = parity(case_name)
    call = case.subcases["prompted"]
    tower = official_tower(case)
    construct = case.construct
    prompts = ClassPrompts(
        tower, num_clusters=construct["num_clusters"], length=construct["prompt_length"]
    )
    call.check("template_token", with_official_placeholder(prompts))
    prompts.load_state_dict({"token_embeds": case.weights["prompt_tokens"]})
    embeds = prompts(tower, unit_norm=False)
    call.check("text_embeds", embeds)
    (embeds * call.inputs["cotangent"]).sum().backward()
    call.check("grad_prompt_tokens", prompts.token_embeds.grad)


def test_forward_differs_from_the_official_ensemble(
    parity: Callable[[str], Any],
) -> None:
    case = parity("pixelclip_prompts_ensemble")
    call = case.subcases["prompted"]
    tower = official_tower(case)
    prompts = ClassPrompts(tower, num_clusters=3, length=4, templates="pixelclip")
    call.check("ensemble_template_token", with_official_placeholder(prompts))
    names = case.weights["prompt_tokens"]
    prompts.load_state_dict({"token_embeds": names})
    # The release: always the same sentence, names and end where each template has them.
    mixed = []
    for token_ids, places in zip(prompts.token_ids, prompts.places, strict=True):
        embeds = tower.embed_tokens(call.outputs["template_token"]).repeat(3, 1, 1)
        embeds[:, places] = names
        mixed.append(tower.encode_token_embeds(embeds, token_ids.expand(3, -1), unit_norm=False))
    call.check("text_embeds", torch.stack(mixed).mean(dim=0))
    ours = prompts(tower)
    assert (ours - F.normalize(call.outputs["text_embeds"], dim=-1)).abs().max() > 0.01
