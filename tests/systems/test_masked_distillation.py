"""Masked self-distillation: what the student sees, what it is compared with, and the teacher."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ovseg_d2.clip import CLIPTower, encode_image_tokens
from ovseg_d2.losses import soft_code_loss
from ovseg_d2.nets import OnlineTokenizer, PatchDecoder
from ovseg_d2.ops import draw_patch_masks, patch_pixels
from ovseg_d2.systems import MaskedDistillation

Build = Callable[..., MaskedDistillation]


@pytest.fixture
def build(tower: CLIPTower) -> Build:
    def build(target: str = "teacher", grid: tuple[int, int] = (4, 4), **options: Any):
        out_dim = 3 * 8 * 8 if target == "pixels" else None
        tokenizer = OnlineTokenizer(32, 12, hidden_dim=16, code_dim=8)
        options = {"tokenizer": None if target == "pixels" else tokenizer} | options
        decoder = PatchDecoder(32, grid, out_dim=out_dim, num_heads=2)
        return MaskedDistillation(tower, decoder=decoder, target=target, **options)

    return build


def images_of(count: int = 2, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size)


def loss_and_masks(part: MaskedDistillation, tower: CLIPTower, images: torch.Tensor, seed: int = 3):
    """The loss, and the masks that it drew."""
    torch.manual_seed(seed)
    masks = draw_patch_masks(len(images), 16, part.mask_ratio)
    torch.manual_seed(seed)
    return part(tower, images), masks


def test_forward_equals_loops(build, tower):
    part = build(student_temperature=0.3, teacher_temperature=0.2)
    part.center.normal_(std=0.1)
    center = part.center.clone()
    teacher = {name: copy.deepcopy(module) for name, module in part.teacher.items()}
    images = images_of()
    loss, masks = loss_and_masks(part, tower, images)
    assert masks.sum(dim=1).tolist() == [12, 12]
    logits = {"student": [], "teacher": []}
    for image in range(2):
        kept = (~masks[image]).nonzero().t()
        tokens, _ = encode_image_tokens(tower.model.visual, images[image : image + 1], kept)
        guesses = part.decoder(tokens, kept, (4, 4))[0]
        # The teacher sees all of the image, and has not moved yet: it equals the student.
        whole, _ = encode_image_tokens(teacher["visual"], images[image : image + 1])
        for place in masks[image].nonzero()[:, 0].tolist():
            logits["student"].append(part.tokenizer(guesses[place]))
            logits["teacher"].append(teacher["tokenizer"](whole[0, 1 + place]))
    expected = soft_code_loss(
        torch.stack(logits["student"]),
        torch.stack(logits["teacher"]),
        student_temperature=0.3,
        teacher_temperature=0.2,
        center=center,
    )
    torch.testing.assert_close(loss, expected)
    mean = torch.stack(logits["teacher"]).mean(dim=0)
    torch.testing.assert_close(part.center, 0.9 * center + 0.1 * mean)


def test_guess_ignores_hidden_patches(build, tower):
    part = build()
    images = images_of()
    masks = draw_patch_masks(2, 16, 0.75)
    before = part.guess(tower, images, masks)
    hidden = masks.view(2, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    noisy = torch.where(hidden, torch.randn_like(images), images)
    torch.testing.assert_close(part.guess(tower, noisy, masks), before)
    # The teacher does.
    assert not torch.allclose(
        part.target_logits(tower, noisy, masks), part.target_logits(tower, images, masks), atol=1e-3
    )


def test_teacher_is_the_moving_average(build, tower):
    part = build(momentum=0.75)
    before = {name: value.clone() for name, value in part.teacher.state_dict().items()}
    with torch.no_grad():
        for parameter in [*tower.model.visual.parameters(), *part.tokenizer.parameters()]:
            parameter.add_(torch.randn_like(parameter))
    part(tower, images_of())
    student = {f"visual.{k}": v for k, v in tower.model.visual.state_dict().items()}
    student |= {f"tokenizer.{k}": v for k, v in part.tokenizer.state_dict().items()}
    moved = part.teacher.state_dict()
    assert set(moved) == set(student)
    for name, value in moved.items():
        expected = 0.75 * before[name] + 0.25 * student[name]
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-5)
    part.eval()
    part(tower, images_of())  # evaluation moves nothing
    assert all(torch.equal(value, moved[name]) for name, value in part.teacher.state_dict().items())


@pytest.mark.parametrize("target", ["teacher", "student", "pixels"])
def test_forward_trains_the_student_alone(build, tower, target):
    part = build(target)
    part(tower, images_of()).backward()
    learning = [*part.decoder.named_parameters(), *tower.model.visual.named_parameters()]
    learning += [] if target == "pixels" else part.tokenizer.named_parameters()
    for name, parameter in learning:
        if name != "proj":  # of the contrastive loss alone
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    if target == "teacher":
        assert not any(p.requires_grad or p.grad is not None for p in part.teacher.parameters())
        assert not part.train().teacher["visual"].training
    else:
        assert part.teacher is None


def test_forward_with_target_student(build, tower):
    part = build("student")
    images = images_of()
    loss, masks = loss_and_masks(part, tower, images)
    with torch.no_grad():
        whole, _ = encode_image_tokens(tower.model.visual, images)
        logits = part.tokenizer(whole[:, 1:])[masks]
    guesses = part.tokenizer(part.guess(tower, images, masks))
    torch.testing.assert_close(loss, soft_code_loss(guesses, logits))


def test_forward_with_target_pixels(build, tower):
    part = build("pixels", mask_ratio=0.5)
    images = images_of()
    loss, masks = loss_and_masks(part, tower, images)
    pixels = patch_pixels(images, (8, 8), unit_variance=True)[masks]
    expected = ((part.guess(tower, images, masks) - pixels) ** 2).mean()
    torch.testing.assert_close(loss, expected)


def test_statistics_of_targets(build, tower):
    part = build()
    part(tower, images_of(4))
    result = part.statistics
    assert 1 <= result.codes_in_use <= 12
    assert 0 < result.target_entropy < torch.tensor(12.0).log()


def test_training_learns_the_codes(build, tower):
    part = build(momentum=0.99)
    # Eight images of one colour each, so that what is left tells what is hidden.
    images = 2 * torch.randn(8, 3, 1, 1).expand(8, 3, 32, 32)
    parameters = [*part.parameters(), *tower.model.visual.parameters()]
    optimizer = torch.optim.AdamW([p for p in parameters if p.requires_grad], lr=2e-3)

    def agreement() -> float:
        masks = draw_patch_masks(8, 16, 0.75)
        with torch.no_grad():
            guesses = part.tokenizer(part.guess(tower, images, masks))
            targets = part.target_logits(tower, images, masks) - part.center
        return (guesses.argmax(1) == targets.argmax(1)).float().mean().item()

    assert agreement() < 0.4
    for _ in range(60):
        optimizer.zero_grad()
        part(tower, images).backward()
        optimizer.step()
    assert agreement() > 0.7
    assert part.statistics.codes_in_use > 3  # no code takes all


@pytest.mark.parametrize("ratio", [0.0, 1.0, 1.5])
def test_refuses_mask_ratios(build, ratio):
    with pytest.raises(ValueError, match=f"mask ratio is {ratio}; give a share between 0 and 1"):
        build(mask_ratio=ratio)


def test_refuses_bad_input(build, tower):
    with pytest.raises(ValueError, match="target='tokens'; choose one of .'teacher', 'student'"):
        build("tokens")
    with pytest.raises(ValueError, match="target='teacher' with tokenizer=NoneType: features need"):
        build(tokenizer=None)
    with pytest.raises(ValueError, match="target='pixels' with tokenizer=OnlineTokenizer"):
        build("pixels", tokenizer=OnlineTokenizer(32, 4))
    for name in ("momentum", "center_momentum"):
        with pytest.raises(ValueError, match=f"{name} is 1; give a number from 0 to below 1"):
            build(**{name: 1})
    with pytest.raises(ValueError, match="teacher_temperature is 0"):
        build(teacher_temperature=0)
    with pytest.raises(ValueError, match="images of 4x4 patches for a decoder of 3x4; give train"):
        build(grid=(3, 4))(tower, images_of())
