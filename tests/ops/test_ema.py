"""`update_ema`: worked values, closed form, dtypes and errors."""

import copy

import pytest
import torch
from torch import nn

from ovseg_d2.ops import update_ema


class Net(nn.Module):
    """A network with parameters, float and integer buffers, and a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("unsaved", torch.zeros(2, dtype=torch.bool), persistent=False)


def random_net() -> Net:
    net = Net()
    with torch.no_grad():
        for value in [*net.parameters(), net.norm.running_mean, net.norm.running_var]:
            value.normal_()
        net.norm.num_batches_tracked.fill_(int(torch.randint(100, ())))
        net.unsaved.copy_(torch.rand(2) > 0.5)
    return net


def test_update_ema_worked_by_hand():
    teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(teacher.weight, 8.0)
    nn.init.constant_(student.weight, 4.0)
    update_ema(teacher, student, 0.75)
    assert teacher.weight.item() == 0.75 * 8 + 0.25 * 4
    update_ema(teacher, student, 0.5)
    assert teacher.weight.item() == 5.5
    assert student.weight.item() == 4


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.999, 1.0])
def test_update_ema_moves_parameters_and_copies_buffers(momentum):
    student = random_net()
    teacher = random_net()
    before = copy.deepcopy(teacher.state_dict())
    untouched = copy.deepcopy(student.state_dict())
    update_ema(teacher, student, momentum)
    for name, value in teacher.named_parameters():
        old, goal = before[name].double(), untouched[name].double()
        expected = (momentum * old + (1 - momentum) * goal).float()
        torch.testing.assert_close(value.detach(), expected, rtol=1e-6, atol=1e-7)
        if momentum in (0.0, 1.0):
            assert torch.equal(value, (old if momentum else goal).float())
    for name, value in teacher.named_buffers():
        assert torch.equal(value, dict(student.named_buffers())[name])
        assert value.dtype == dict(student.named_buffers())[name].dtype
    assert all(torch.equal(value, untouched[name]) for name, value in student.state_dict().items())


def test_update_ema_follows_the_closed_form():
    """After n steps towards a constant student, m^n of the difference is left."""
    student = random_net()
    teacher = random_net()
    start = {name: value.detach().clone() for name, value in teacher.named_parameters()}
    for _ in range(200):
        update_ema(teacher, student, 0.99)
    for name, value in teacher.named_parameters():
        goal = dict(student.named_parameters())[name].detach()
        expected = goal + 0.99**200 * (start[name] - goal)
        torch.testing.assert_close(value.detach(), expected, rtol=1e-4, atol=1e-5)


def test_update_ema_keeps_gradient_flags_and_makes_no_graph():
    student = random_net()
    teacher = random_net().requires_grad_(False)
    update_ema(teacher, student, 0.9)
    assert not any(value.requires_grad for value in teacher.parameters())
    assert all(value.requires_grad and value.grad is None for value in student.parameters())


def test_update_ema_float32_teacher_of_a_bfloat16_student():
    student = nn.Linear(1, 1, bias=False).bfloat16()
    teacher = nn.Linear(1, 1, bias=False)
    nn.init.constant_(teacher.weight, 1.0)
    nn.init.constant_(student.weight, 2.0)
    update_ema(teacher, student, 0.999)
    assert teacher.weight.dtype == torch.float32
    assert teacher.weight.item() == pytest.approx(1.001, abs=1e-7)


@pytest.mark.parametrize("momentum", [-0.1, 1.5, float("nan")])
def test_update_ema_refuses_momentum(momentum):
    with pytest.raises(ValueError, match="momentum is .*; give a number from 0 to 1"):
        update_ema(nn.Linear(1, 1), nn.Linear(1, 1), momentum)


@pytest.mark.parametrize("student", [nn.Linear(1, 1, bias=False), nn.Linear(2, 1), random_net()])
def test_update_ema_refuses_another_network(student):
    with pytest.raises(ValueError, match="make the teacher a deep copy"):
        update_ema(nn.Linear(1, 1), student, 0.9)
