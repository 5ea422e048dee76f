"""Gradient clipping and learning-rate schedules from a config."""

import logging
from collections.abc import Callable
from typing import Any

from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    ParamScheduler,
    StepWithFixedGammaParamScheduler,
)
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .config import CfgNode

__all__ = [
    "LRMultiplier",
    "WarmupParamScheduler",
    "build_lr_scheduler",
    "maybe_add_gradient_clipping",
]

logger = logging.getLogger("detectron2.solver.build")


class WarmupParamScheduler(CompositeParamScheduler):
    """A schedule with a warmup in place of its beginning."""

    def __init__(
        self,
        scheduler: ParamScheduler,
        warmup_factor: float,
        warmup_length: float,
        warmup_method: str = "linear",
        rescale_interval: bool = False,
    ):
        """Put a warmup before a schedule.

        Args:
            scheduler: the schedule after it.
            warmup_factor: where the warmup begins, relative to the schedule's first value.
            warmup_length: share of the training, in [0, 1].
            warmup_method: "linear" up to the value with which the schedule goes on, or "constant".
            rescale_interval: the schedule begins after the warmup and is squeezed into the rest;
                otherwise the warmup covers its beginning.

        Raises:
            ValueError: ``warmup_method`` is unknown.
        """
        start = warmup_factor * scheduler(0.0)
        end = scheduler(0.0) if rescale_interval else scheduler(warmup_length)
        warmup: ParamScheduler
        if warmup_method == "constant":
            warmup = ConstantParamScheduler(start)
        elif warmup_method == "linear":
            warmup = LinearParamScheduler(start, end)
        else:
            raise ValueError(f"Unknown warmup method: {warmup_method}")
        super().__init__(
            [warmup, scheduler],
            interval_scaling=["rescaled", "rescaled" if rescale_interval else "fixed"],
            lengths=[warmup_length, 1 - warmup_length],
        )


class LRMultiplier(LRScheduler):
    """Multiplies the base rate of each parameter group by one schedule."""

    def __init__(
        self, optimizer: Optimizer, multiplier: ParamScheduler, max_iter: int, last_iter: int = -1
    ):
        """Begin a schedule.

        Args:
            optimizer: its rates are the base rates.
            multiplier: factor by share of the training done, in [0, 1].
            max_iter: iterations of the training.
            last_iter: the last iteration done.

        Raises:
            ValueError: ``multiplier`` is not one of fvcore's schedulers.
        """
        if not isinstance(multiplier, ParamScheduler):
            raise ValueError(
                "_LRMultiplier(multiplier=) must be an instance of fvcore ParamScheduler. "
                f"Got {multiplier} instead."
            )
        self._multiplier = multiplier
        self._max_iter = max_iter
        super().__init__(optimizer, last_epoch=last_iter)

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule is, without its shape, so that a run can be resumed with another."""
        return {"base_lrs": self.base_lrs, "last_epoch": self.last_epoch}

    def get_lr(self) -> list[float]:
        """The rate of each parameter group at iteration ``last_epoch``."""
        factor = self._multiplier(self.last_epoch / self._max_iter)
        return [base_lr * factor for base_lr in self.base_lrs]


def build_lr_scheduler(cfg: CfgNode, optimizer: Optimizer) -> LRScheduler:
    """Build the schedule that ``cfg.SOLVER.LR_SCHEDULER_NAME`` names.

    Args:
        cfg: the configuration; the name is "WarmupMultiStepLR", "WarmupCosineLR" (down to
            ``BASE_LR_END``) or "WarmupStepWithFixedGammaLR".
        optimizer: whose rates are changed.

    Raises:
        ValueError: the name is unknown.
        AssertionError: ``BASE_LR_END`` is not in [0, ``BASE_LR``].
    """
    solver = cfg.SOLVER
    name = solver.LR_SCHEDULER_NAME
    schedule: ParamScheduler
    if name == "WarmupMultiStepLR":
        steps = [step for step in solver.STEPS if step <= solver.MAX_ITER]
        if len(steps) < len(solver.STEPS):
            logger.warning(
                "SOLVER.STEPS contains values larger than SOLVER.MAX_ITER. "
                "These values will be ignored."
            )
        schedule = MultiStepParamScheduler(
            values=[solver.GAMMA**k for k in range(len(steps) + 1)],
            milestones=steps,
            num_updates=solver.MAX_ITER,
        )
    elif name == "WarmupCosineLR":
        end_value = solver.BASE_LR_END / solver.BASE_LR
        assert 0.0 <= end_value <= 1.0, (
            f"SOLVER.BASE_LR_END is {solver.BASE_LR_END}; choose from 0 to BASE_LR "
            f"({solver.BASE_LR})."
        )
        schedule = CosineParamScheduler(1, end_value)
    elif name == "WarmupStepWithFixedGammaLR":
        schedule = StepWithFixedGammaParamScheduler(
            base_value=1.0,
            gamma=solver.GAMMA,
            num_decays=solver.NUM_DECAYS,
            num_updates=solver.MAX_ITER,
        )
    else:
        raise ValueError(f"Unknown LR scheduler: {name}")
    schedule = WarmupParamScheduler(
        schedule,
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)


def maybe_add_gradient_clipping(cfg: CfgNode, optimizer: Optimizer) -> Optimizer:
    """Make an optimizer clip gradients at each step if the config enables it.

    Args:
        cfg: ``SOLVER.CLIP_GRADIENTS`` is read. Its ``CLIP_TYPE`` "value" clips each entry, "norm"
            the norm of each parameter's gradient; neither looks at the model as a whole.
        optimizer: changed in place.

    Returns:
        The optimizer.

    Raises:
        ValueError: ``CLIP_TYPE`` is neither.
    """
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if not clip.ENABLED:
        return optimizer
    if clip.CLIP_TYPE not in ("value", "norm"):
        raise ValueError(f"'{clip.CLIP_TYPE}' is not a valid GradientClipType")
    # Read here, because later changes of the config must not change a running optimizer.
    by_value, limit, norm_type = clip.CLIP_TYPE == "value", clip.CLIP_VALUE, clip.NORM_TYPE
    base = type(optimizer)

    def step(self: Optimizer, closure: Callable[[], float] | None = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                if by_value:
                    nn.utils.clip_grad_value_(parameter, limit)
                else:
                    nn.utils.clip_grad_norm_(parameter, limit, norm_type)
        return base.step(self, closure)

    optimizer.__class__ = type(f"{base.__name__}WithGradientClip", (base,), {"step": step})
    return optimizer
