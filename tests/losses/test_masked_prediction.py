"""Losses of guesses: worked by hand, by loops, and where gradients go."""

import math

import pytest
import torch

from ovseg_d2.losses import pixel_loss, soft_code_loss, soft_codes


def loss_by_loops(student, teacher, student_temperature, teacher_temperature, center):
    total = 0.0
    for row_s, row_t in zip(student.tolist(), teacher.tolist(), strict=True):
        logits = [(t - c) / teacher_temperature for t, c in zip(row_t, center, strict=True)]
        target = [math.exp(t) / sum(map(math.exp, logits)) for t in logits]
        scaled = [s / student_temperature for s in row_s]
        log_sum = math.log(sum(map(math.exp, scaled)))
        total -= sum(p * (s - log_sum) for p, s in zip(target, scaled, strict=True))
    return total / len(student)


def test_soft_code_loss_equals_loops():
    student, teacher = torch.randn(5, 4).double(), torch.randn(5, 4).double()
    center = torch.randn(4).double()
    loss = soft_code_loss(
        student, teacher, student_temperature=0.5, teacher_temperature=0.3, center=center
    )
    expected = loss_by_loops(student, teacher, 0.5, 0.3, center.tolist())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    plain = soft_code_loss(student, teacher, student_temperature=0.5, teacher_temperature=0.3)
    assert plain.item() == pytest.approx(loss_by_loops(student, teacher, 0.5, 0.3, [0.0] * 4))


def test_soft_code_loss_worked_value():
    # Two codes, targets of 3/4 and 1/4, a student that cannot tell: log 2.
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    torch.testing.assert_close(soft_codes(teacher, 1.0), torch.tensor([[0.75, 0.25]]))
    loss = soft_code_loss(torch.zeros(1, 2), teacher, teacher_temperature=1.0)
    assert loss.item() == pytest.approx(math.log(2))


def test_soft_code_loss_trains_the_student_alone():
    student = torch.randn(6, 3, requires_grad=True)
    teacher = torch.randn(6, 3, requires_grad=True)
    loss = soft_code_loss(student, teacher, student_temperature=0.2, teacher_temperature=0.1)
    loss.backward()
    assert teacher.grad is None
    # The gradient of a cross entropy: (probabilities - targets) / temperature, averaged.
    expected = ((student / 0.2).softmax(1) - soft_codes(teacher, 0.1)) / 0.2 / 6
    torch.testing.assert_close(student.grad, expected.detach())


def test_soft_codes_subtract_the_center():
    logits = torch.randn(50, 4) + torch.tensor([9.0, 0.0, 0.0, 0.0])
    assert (soft_codes(logits, 1.0).argmax(1) == 0).all()
    centred = soft_codes(logits, 1.0, logits.mean(dim=0))
    assert set(centred.argmax(1).tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_soft_code_loss_is_float32(dtype):
    student, teacher = torch.randn(5, 9), torch.randn(5, 9)
    loss = soft_code_loss(student.to(dtype), teacher.to(dtype))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(soft_code_loss(student, teacher).item(), rel=0.1)


def test_losses_without_patches_are_0():
    logits = torch.zeros(0, 3, requires_grad=True)
    loss = soft_code_loss(logits, torch.zeros(0, 3)) + pixel_loss(logits, torch.zeros(0, 3))
    loss.backward()
    assert loss.item() == 0 and logits.grad.shape == (0, 3)


def test_pixel_loss_is_the_mean_squared_error():
    guesses, pixels = torch.randn(4, 6), torch.randn(4, 6)
    expected = sum(float(d) ** 2 for d in (guesses - pixels).flatten()) / 24
    assert pixel_loss(guesses, pixels).item() == pytest.approx(expected, rel=1e-5)


def test_refuses_bad_input():
    with pytest.raises(ValueError, match=r"both be \(M, P\): compare the same patches"):
        soft_code_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="must be of one shape"):
        pixel_loss(torch.zeros(2, 3), torch.zeros(2, 4))
    for name in ("student_temperature", "teacher_temperature"):
        with pytest.raises(ValueError, match=f"{name} is 0; give a positive number"):
            soft_code_loss(torch.zeros(2, 3), torch.zeros(2, 3), **{name: 0})
