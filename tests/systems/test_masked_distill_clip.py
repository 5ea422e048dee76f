"""MaskedDistillCLIP: CLIPPretrain's loss, what stands beside it, and weights that start it."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch

from ovseg_d2.clip import CLIPTower
from ovseg_d2.nets import OnlineTokenizer, PatchDecoder, TokenDecoder
from ovseg_d2.systems import CLIPPretrain, MaskedDistillation, MaskedDistillCLIP, MaskedLanguage

CAPTIONS = [["a red star", "grass"], ["grass", "sand"], ["blue dots", "water"], ["wood", "snow"]]
WRONG = [["a red ring"], [], [], []]
Build = Callable[..., MaskedDistillCLIP]


@pytest.fixture
def build(tiny_clip_config: dict[str, Any]) -> Build:
    """Give a function that builds the same tiny system each time, but for its options."""

    def build(**options: Any) -> MaskedDistillCLIP:
        torch.manual_seed(1)
        model = open_clip.CLIP(**tiny_clip_config)
        tower = CLIPTower(model, open_clip.SimpleTokenizer(), mean=(0.5,) * 3, std=(0.25,) * 3)
        parts = {
            "distillation": MaskedDistillation(
                tower,
                decoder=PatchDecoder(32, (4, 4), num_heads=2),
                tokenizer=OnlineTokenizer(32, 12, hidden_dim=16, code_dim=8),
            ),
            "masked_language": MaskedLanguage(
                tower, decoder=TokenDecoder(32, 77, num_layers=1, num_heads=2)
            ),
        }
        return MaskedDistillCLIP(tower, **(parts | options))

    return build


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32)).float()


@pytest.mark.parametrize("attention_only", [0.0, 0.5, 1.0])
def test_forward_has_the_loss_of_clip_pretrain(build, images, attention_only):
    model = build(attention_only=attention_only)
    expected = CLIPPretrain(model.tower, attention_only=attention_only)(images, CAPTIONS, WRONG)
    losses = model(images, CAPTIONS, WRONG)
    names = ["loss_contrastive", "loss_distillation", "loss_masked_language"]
    assert list(losses) == names
    torch.testing.assert_close(losses["loss_contrastive"], expected["loss_contrastive"])
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert frozen and all(name.startswith("distillation.teacher.") for name in frozen)


def test_forward_multiplies_by_the_weights(build, images):
    model = build()
    assert (model.distillation_weight, model.language_weight) == (0.05, 0.05)
    losses = []
    for weight in (1.0, 0.25):
        model = build(distillation_weight=weight, language_weight=2 * weight)
        torch.manual_seed(7)
        losses.append(model(images, CAPTIONS))
    for name in ("loss_distillation", "loss_masked_language"):
        torch.testing.assert_close(losses[1][name], 0.25 * losses[0][name])
    torch.manual_seed(7)
    model = build(distillation_weight=1.0)
    torch.manual_seed(7)
    distillation = model.distillation(model.tower, model.tower.normalize(images))
    torch.testing.assert_close(losses[0]["loss_distillation"], distillation)


def test_forward_without_parts(build, images):
    assert list(build(masked_language=None)(images, CAPTIONS)) == [
        "loss_contrastive",
        "loss_distillation",
    ]
    assert list(build(distillation=None, masked_language=None)(images, CAPTIONS)) == [
        "loss_contrastive"
    ]


def test_masked_language_skips_wrong_captions(build, images, monkeypatch):
    model = build()
    seen = []
    forward = model.masked_language.forward
    monkeypatch.setattr(
        model.masked_language, "forward", lambda t, ids: (seen.append(ids), forward(t, ids))[1]
    )
    model(images, CAPTIONS, WRONG)
    assert len(seen[0]) == 7  # of eight right captions "grass" occurs twice


def test_load_state_dict_restores_the_teacher(build):
    model, other = build(), build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    other.load_state_dict(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_load_state_dict_of_a_clip_starts_the_teacher(build):
    model = build()
    other = CLIPPretrain(build().tower)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter))
    result = model.load_state_dict(other.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert not any(".teacher.visual." in name for name in result.missing_keys)
    teacher = model.distillation.teacher["visual"].state_dict()
    for name, value in other.tower.model.visual.state_dict().items():
        assert torch.equal(teacher[name], value), name


@pytest.mark.parametrize("name", ["distillation_weight", "language_weight"])
def test_refuses_negative_weights(build, name):
    with pytest.raises(ValueError, match=f"{name} is -1; give a number of at least 0"):
        build(**{name: -1})
