"""Mask adaptation: what each way trains, what it leaves bit for bit, and its loss by hand."""

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, MaskPromptedTower
from ovseg_d2.systems import MaskAdaptedCLIP
from ovseg_d2.text import TextBank

_NOUNS = ["red star", "dog", "red star", "grass"]


def _system(tower: CLIPTower, depth: int, train: str, **options: Any) -> MaskAdaptedCLIP:
    prompted = MaskPromptedTower(tower, depth=depth)
    return MaskAdaptedCLIP(prompted, TextBank(tower, ["{}"]), train=train, **options)


def _pairs() -> tuple[list[torch.Tensor], list[torch.Tensor], list[str]]:
    generator = torch.Generator().manual_seed(1)
    sizes = [(20, 30), (9, 7), (40, 40), (1, 1)]
    crops = [torch.randint(0, 256, (3, *size), generator=generator).float() for size in sizes]
    masks = [torch.rand(size, generator=generator) > 0.3 for size in sizes]
    for mask in masks:
        mask[mask.shape[0] // 2 :, mask.shape[1] // 2 :] = False
        mask[0, 0] = True
    return crops, masks, _NOUNS


def _train(system: MaskAdaptedCLIP, steps: int = 2) -> list[float]:
    optimizer = torch.optim.AdamW(
        [p for p in system.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1
    )
    losses = []
    for _ in range(steps):
        loss = system(*_pairs())["loss_contrastive"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("depth", "train", "moving"),
    [
        (2, "prompts", {"prompts"}),
        (0, "image", {"visual"}),
        (2, "image", {"visual"}),
        (2, "both", {"prompts", "visual"}),
    ],
)
def test_training_changes_the_trained_part_alone(
    tower: CLIPTower, depth: int, train: str, moving: set[str]
) -> None:
    system = _system(tower, depth, train)
    before = copy.deepcopy(system.state_dict())
    _train(system)
    changed = {k for k, v in system.state_dict().items() if not torch.equal(v, before[k])}
    kinds = set()
    for name in changed - {"log_scale"}:
        if name == "prompted.prompts":
            kinds.add("prompts")
        else:
            assert name.startswith("prompted.tower.model.visual.")
            kinds.add("visual")
    assert kinds == moving
    assert "log_scale" in changed
    # Every trained parameter takes part, or several processes would wait for its gradient.
    assert all(p.grad is not None for p in system.parameters() if p.requires_grad)


def test_second_stage_loads_the_first(tower: CLIPTower) -> None:
    first = _system(tower, 0, "image")
    _train(first, 1)
    second = _system(copy.deepcopy(tower), 2, "prompts")
    missing = second.load_state_dict(first.state_dict(), strict=False)
    assert missing.missing_keys == ["prompted.prompts"]
    assert missing.unexpected_keys == []


@pytest.mark.parametrize("train", ["prompts", "both"])
def test_training_lowers_the_loss(tower: CLIPTower, train: str) -> None:
    system = _system(tower, 1, train)
    system.log_scale.requires_grad_(False)  # a smaller factor alone would lower it too
    losses = _train(system, 10)
    assert losses[-1] < 0.95 * losses[0]


@torch.no_grad()
@pytest.mark.parametrize("official", [False, True])
def test_forward_equals_loops(tower: CLIPTower, official: bool) -> None:
    system = _system(tower, 1, "prompts", official=official)
    crops, masks, nouns = _pairs()
    images, texts = [], []
    for crop, mask, noun in zip(crops, masks, nouns, strict=True):
        image = torch.where(mask, tower.normalize(crop), 0.0)
        image = F.interpolate(image[None], (32, 32), mode="bicubic")
        mask = F.interpolate(mask[None, None].float(), (32, 32))[0] > 0
        images.append(system.prompted.encode_crops(image, mask)[0])
        texts.append(tower.encode_text(tower.tokenize([noun]))[0])
    scale = tower.logit_scale.clamp(max=100)
    logits = scale * torch.stack(images) @ torch.stack(texts).t()
    total = 0.0
    for i in range(4):
        for rows in (logits[i], logits[:, i]):
            rivals = [rows[j] for j in range(4) if j == i or official or nouns[j] != nouns[i]]
            total += torch.stack(rivals).logsumexp(dim=0) - rows[i]
    result = system(crops, masks, nouns)["loss_contrastive"]
    torch.testing.assert_close(result, total / 8, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_forward_ignores_capitals_of_nouns(tower: CLIPTower) -> None:
    system = _system(tower, 1, "prompts")
    crops, masks, _ = _pairs()
    assert system(crops[:2], masks[:2], ["red dog", "Red  dog"])["loss_contrastive"] == 0


@torch.no_grad()
def test_log_scale_is_bounded_and_apart_from_the_tower(tower: CLIPTower) -> None:
    system = _system(tower, 1, "prompts", max_logit_scale=5.0)
    before = tower.logit_scale.clone()
    system(*_pairs())
    assert system.log_scale.exp().item() == pytest.approx(5.0)
    assert torch.equal(tower.logit_scale, before)


@torch.no_grad()
def test_fill_none_keeps_the_background(tower: CLIPTower) -> None:
    filled = _system(tower, 0, "image")(*_pairs())["loss_contrastive"]
    left = _system(tower, 0, "image", fill="none")(*_pairs())["loss_contrastive"]
    assert filled != left


def test_refuses_bad_input(tower: CLIPTower) -> None:
    prompted = MaskPromptedTower(tower, depth=0)
    bank = TextBank(tower, ["{}"])
    with pytest.raises(ValueError, match="train='text'"):
        MaskAdaptedCLIP(prompted, bank, train="text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there are none"):
        MaskAdaptedCLIP(prompted, bank, train="both")
    with pytest.raises(ValueError, match="another tower"):
        MaskAdaptedCLIP(prompted, TextBank(copy.deepcopy(tower), ["{}"]), train="image")
    with pytest.raises(ValueError, match="max_logit_scale=0"):
        MaskAdaptedCLIP(prompted, bank, train="image", max_logit_scale=0)
    system = MaskAdaptedCLIP(prompted, bank, train="image")
    crops, masks, nouns = _pairs()
    with pytest.raises(ValueError, match="3 nouns"):
        system(crops, masks, nouns[:3])
    with pytest.raises(ValueError, match="at least one pair"):
        system([], [], [])
