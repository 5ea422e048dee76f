"""Schedules by hand: the polynomial one, its warm-up, and how it goes on after a resume."""

import pytest
import torch

from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.engine import build_lr_scheduler

BASE_LR = 0.2


def cfg_of(**solver: object) -> CfgNode:
    defaults = {"LR_SCHEDULER_NAME": "WarmupPolyLR", "MAX_ITER": 10, "WARMUP_ITERS": 0}
    cfg = load_config(None, ["MODEL.DEVICE", "cpu"])
    for key, value in {**defaults, **solver}.items():
        assert key in cfg.SOLVER
        cfg.SOLVER[key] = value
    return cfg


def build(cfg: CfgNode) -> tuple:
    parameters = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p]} for p in parameters], lr=BASE_LR)
    optimizer.param_groups[1]["lr"] = 10 * BASE_LR
    return optimizer, build_lr_scheduler(cfg, optimizer)


def rates(optimizer, scheduler, count: int) -> list[float]:
    """Rates of the next iterations; a trainer steps the schedule after each."""
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        assert optimizer.param_groups[1]["lr"] == pytest.approx(10 * found[-1])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_polynomial_by_hand(power):
    found = rates(*build(cfg_of(POLY_LR_POWER=power)), 10)
    assert found == pytest.approx([BASE_LR * (1 - t / 10) ** power for t in range(10)])


def test_polynomial_ends_at_zero():
    optimizer, scheduler = build(cfg_of())
    rates(optimizer, scheduler, 10)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_warm_up_by_hand():
    """A line from 0.1 to the schedule's own value at iteration 4, 1 - 4/10; then the schedule."""
    cfg = cfg_of(POLY_LR_POWER=1.0, WARMUP_ITERS=4, WARMUP_FACTOR=0.1)
    found = rates(*build(cfg), 10)
    line = [0.1 + (0.6 - 0.1) * t / 4 for t in range(4)]
    expected = [*line, *(1 - t / 10 for t in range(4, 10))]
    assert found == pytest.approx([BASE_LR * factor for factor in expected])


def test_constant_warm_up_by_hand():
    cfg = cfg_of(POLY_LR_POWER=1.0, WARMUP_ITERS=3, WARMUP_FACTOR=0.1, WARMUP_METHOD="constant")
    found = rates(*build(cfg), 10)
    expected = [0.1, 0.1, 0.1, *(1 - t / 10 for t in range(3, 10))]
    assert found == pytest.approx([BASE_LR * factor for factor in expected])


def test_schedule_rescaled_after_the_warm_up():
    cfg = cfg_of(POLY_LR_POWER=1.0, WARMUP_ITERS=5, WARMUP_FACTOR=0.5, RESCALE_INTERVAL=True)
    found = rates(*build(cfg), 10)
    expected = [*(0.5 + 0.5 * t / 5 for t in range(5)), *(1 - t / 5 for t in range(5))]
    assert found == pytest.approx([BASE_LR * factor for factor in expected])


def test_warm_up_longer_than_the_training():
    cfg = cfg_of(POLY_LR_POWER=1.0, WARMUP_ITERS=1000, WARMUP_FACTOR=0.1)
    found = rates(*build(cfg), 10)
    # Towards the schedule's value at the end, 0.
    assert found == pytest.approx([BASE_LR * (0.1 - 0.1 * t / 10) for t in range(10)])


@pytest.mark.parametrize("warmup_iters", [0, 2])
def test_resumed_run_repeats_the_rest(warmup_iters):
    cfg = cfg_of(WARMUP_ITERS=warmup_iters)
    whole = rates(*build(cfg), 10)
    optimizer, scheduler = build(cfg)
    rates(optimizer, scheduler, 4)
    resumed_optimizer, resumed = build(cfg)
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert rates(resumed_optimizer, resumed, 6) == pytest.approx(whole[4:])


def test_resumed_run_may_be_longer():
    """The first step has the rate of the checkpoint; then T is the new config's 20."""
    optimizer, scheduler = build(cfg_of(POLY_LR_POWER=1.0))
    rates(optimizer, scheduler, 4)
    longer_optimizer, longer = build(cfg_of(POLY_LR_POWER=1.0, MAX_ITER=20))
    longer_optimizer.load_state_dict(optimizer.state_dict())
    longer.load_state_dict(scheduler.state_dict())
    found = rates(longer_optimizer, longer, 16)
    assert found[0] == pytest.approx(BASE_LR * (1 - 4 / 10))
    assert found[1:] == pytest.approx([BASE_LR * (1 - t / 20) for t in range(5, 20)])


def test_detectron2_schedules_are_unchanged():
    cfg = cfg_of(LR_SCHEDULER_NAME="WarmupMultiStepLR", STEPS=(3, 6), GAMMA=0.1)
    found = rates(*build(cfg), 8)
    expected = [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert found == pytest.approx([BASE_LR * factor for factor in expected])


def test_unknown_schedule():
    with pytest.raises(ValueError, match="Unknown LR scheduler: Sawtooth"):
        build(cfg_of(LR_SCHEDULER_NAME="Sawtooth"))


def test_polynomial_ends_at_the_floor():
    cfg = cfg_of(POLY_LR_POWER=2.0, POLY_LR_FLOOR=0.25)
    found = rates(*build(cfg), 10)
    expected = [BASE_LR * (0.25 + 0.75 * (1 - t / 10) ** 2) for t in range(10)]
    assert found == pytest.approx(expected)
    with pytest.raises(ValueError, match="POLY_LR_FLOOR is 1.5; give a share"):
        build(cfg_of(POLY_LR_FLOOR=1.5))
