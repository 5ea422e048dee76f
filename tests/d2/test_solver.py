"""Contract of ovseg_d2.d2.solver, with detectron2 and with the stand-in."""

import math

import pytest
import torch
from fvcore.common.param_scheduler import ConstantParamScheduler, LinearParamScheduler
from torch import nn

from ovseg_d2.d2.config import get_cfg
from ovseg_d2.d2.solver import (
    LRMultiplier,
    WarmupParamScheduler,
    build_lr_scheduler,
    maybe_add_gradient_clipping,
)


def make_cfg(**solver):
    cfg = get_cfg()
    cfg.SOLVER.WARMUP_ITERS = 0
    for key, value in solver.items():
        setattr(cfg.SOLVER, key, value)
    return cfg


def make_optimizer(*base_lrs):
    return torch.optim.SGD(
        [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in base_lrs], lr=1.0
    )


def collect_rates(scheduler, optimizer, num_steps):
    """The rates of the first group before each of num_steps steps, and after the last."""
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(num_steps):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


class TestBuildLrScheduler:
    def collect(self, cfg):
        optimizer = make_optimizer(cfg.SOLVER.BASE_LR)
        scheduler = build_lr_scheduler(cfg, optimizer)
        return collect_rates(scheduler, optimizer, cfg.SOLVER.MAX_ITER)

    def test_multi_step_with_linear_warmup(self):
        cfg = make_cfg(BASE_LR=2.0, MAX_ITER=8, STEPS=(4, 6), WARMUP_ITERS=2, WARMUP_FACTOR=0.5)
        expected = [1.0, 1.5, 2.0, 2.0, 0.2, 0.2, 0.02, 0.02, 0.02]
        assert self.collect(cfg) == pytest.approx(expected)

    def test_constant_warmup(self):
        cfg = make_cfg(BASE_LR=2.0, MAX_ITER=4, STEPS=(), WARMUP_ITERS=2, WARMUP_FACTOR=0.5)
        cfg.SOLVER.WARMUP_METHOD = "constant"
        assert self.collect(cfg) == pytest.approx([1.0, 1.0, 2.0, 2.0, 2.0])

    def test_without_warmup(self):
        cfg = make_cfg(BASE_LR=1.0, MAX_ITER=4, STEPS=(2,))
        assert self.collect(cfg) == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.1])

    def test_steps_beyond_the_end_are_ignored(self):
        cfg = make_cfg(BASE_LR=1.0, MAX_ITER=4, STEPS=(2, 30000))
        assert self.collect(cfg) == pytest.approx([1.0, 1.0, 0.1, 0.1, 0.1])

    def test_cosine(self):
        cfg = make_cfg(BASE_LR=2.0, BASE_LR_END=0.5, MAX_ITER=4, LR_SCHEDULER_NAME="WarmupCosineLR")
        cosine = [1, math.sqrt(0.5), 0, -math.sqrt(0.5), -1]
        expected = [0.5 + 0.5 * 1.5 * (1 + value) for value in cosine]
        assert self.collect(cfg) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("rescale", "expected"),
        [(False, [0.0, 0.5, 1.0, 0.0]), (True, [0.0, 1.0, 2.0, 0.0])],
    )
    def test_cosine_after_warmup(self, rescale, expected):
        cfg = make_cfg(BASE_LR=2.0, MAX_ITER=4, LR_SCHEDULER_NAME="WarmupCosineLR")
        cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.WARMUP_FACTOR = 2, 0.0
        cfg.SOLVER.RESCALE_INTERVAL = rescale
        rates = self.collect(cfg)
        assert [rates[i] for i in (0, 1, 2, 4)] == pytest.approx(expected, abs=1e-6)

    def test_fixed_gamma(self):
        cfg = make_cfg(BASE_LR=1.0, MAX_ITER=8, GAMMA=0.5, NUM_DECAYS=3)
        cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupStepWithFixedGammaLR"
        optimizer = make_optimizer(1.0)
        rates = collect_rates(build_lr_scheduler(cfg, optimizer), optimizer, 7)
        assert rates == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125])

    def test_refuses(self):
        with pytest.raises(ValueError, match="Unknown LR scheduler: Sawtooth"):
            self.collect(make_cfg(LR_SCHEDULER_NAME="Sawtooth"))
        with pytest.raises(ValueError, match="Unknown warmup method: sudden"):
            self.collect(make_cfg(WARMUP_METHOD="sudden"))
        with pytest.raises(AssertionError):
            self.collect(make_cfg(LR_SCHEDULER_NAME="WarmupCosineLR", BASE_LR_END=1.0))


class TestLRMultiplier:
    def test_multiplies_each_group(self):
        optimizer = make_optimizer(1.0, 10.0)
        scheduler = LRMultiplier(optimizer, LinearParamScheduler(1.0, 0.0), max_iter=4)
        optimizer.step()
        scheduler.step()
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.75, 7.5])
        assert scheduler.get_last_lr() == pytest.approx([0.75, 7.5])

    def test_state_can_go_into_a_longer_run(self):
        optimizer = make_optimizer(1.0)
        scheduler = LRMultiplier(optimizer, LinearParamScheduler(1.0, 0.0), max_iter=2)
        collect_rates(scheduler, optimizer, 2)
        state = scheduler.state_dict()
        assert state == {"base_lrs": [1.0], "last_epoch": 2}

        longer = make_optimizer(1.0)
        resumed = LRMultiplier(longer, LinearParamScheduler(1.0, 0.0), max_iter=4)
        resumed.load_state_dict(state)
        assert collect_rates(resumed, longer, 2)[1:] == pytest.approx([0.25, 0.0])

    def test_refuses_other_schedules(self):
        with pytest.raises(ValueError, match="must be an instance of fvcore ParamScheduler"):
            LRMultiplier(make_optimizer(1.0), lambda where: 1.0, max_iter=4)


def test_warmup_ends_where_the_schedule_goes_on():
    schedule = WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), 0.5, 0.5)
    assert [schedule(where) for where in (0.0, 0.25, 0.5, 0.75)] == pytest.approx(
        [0.5, 0.5, 0.5, 0.25]
    )
    constant = WarmupParamScheduler(ConstantParamScheduler(2.0), 0.25, 0.5, "constant")
    assert [constant(where) for where in (0.0, 0.4, 0.6)] == [0.5, 0.5, 2.0]


class TestGradientClipping:
    def make(self, clip_type, value=1.0):
        cfg = get_cfg()
        cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
        cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type
        cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = value
        return cfg

    def step(self, optimizer_of):
        """One step of rate 1 from zero on gradients (3, -4) and (0.3, 0.4)."""
        first, second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        optimizer = optimizer_of([first, second])
        first.grad = torch.tensor([3.0, -4.0])
        second.grad = torch.tensor([0.3, 0.4])
        optimizer.step()
        return torch.cat([first, second]).tolist()

    @pytest.mark.parametrize(
        ("clip_type", "expected"),
        [("value", [-1.0, 1.0, -0.3, -0.4]), ("norm", [-0.6, 0.8, -0.3, -0.4])],
    )
    def test_by_type(self, clip_type, expected):
        cfg = self.make(clip_type)
        assert self.step(
            lambda p: maybe_add_gradient_clipping(cfg, torch.optim.SGD(p, lr=1.0))
        ) == pytest.approx(expected, abs=1e-5)

    def test_disabled(self):
        assert self.step(
            lambda p: maybe_add_gradient_clipping(get_cfg(), torch.optim.SGD(p, lr=1.0))
        ) == pytest.approx([-3.0, 4.0, -0.3, -0.4])

    def test_later_changes_of_the_config_are_not_seen(self):
        cfg = self.make("value")

        def build(parameters):
            optimizer = maybe_add_gradient_clipping(cfg, torch.optim.SGD(parameters, lr=1.0))
            cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.1
            return optimizer

        assert self.step(build)[0] == pytest.approx(-1.0)

    def test_without_gradients_and_with_a_scheduler(self):
        parameter = nn.Parameter(torch.zeros(2))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        optimizer = maybe_add_gradient_clipping(self.make("norm"), optimizer)
        scheduler = LRMultiplier(optimizer, ConstantParamScheduler(1.0), max_iter=4)
        optimizer.step()
        scheduler.step()
        assert parameter.tolist() == [0.0, 0.0]

    def test_whole_model_is_unknown(self):
        with pytest.raises(ValueError, match="'full_model' is not a valid GradientClipType"):
            maybe_add_gradient_clipping(self.make("full_model"), make_optimizer(1.0))
