"""Learning rate schedules: detectron2's, and a polynomial one with a floor."""

import torch
from fvcore.common.param_scheduler import ParamScheduler, PolynomialDecayParamScheduler

from ..d2.config import CfgNode
from ..d2.solver import LRMultiplier, WarmupParamScheduler
from ..d2.solver import build_lr_scheduler as build_d2_scheduler

__all__ = ["build_lr_scheduler"]


def build_lr_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule that ``SOLVER.LR_SCHEDULER_NAME`` names.

    ``WarmupPolyLR`` is floor + (1 - floor) (1 - t / T)^power with a warm-up; the floor is that of
    MMSegmentation, which trains [maskclip].
    Departs: detectron2's DeepLab project keeps T in the checkpoint, so that a resumed run cannot
    have a larger ``MAX_ITER``; here T is the config's.

    Raises:
        ValueError: ``SOLVER.POLY_LR_FLOOR`` is outside [0, 1].
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "WarmupPolyLR":
        return build_d2_scheduler(cfg, optimizer)
    if not 0 <= solver.POLY_LR_FLOOR <= 1:
        raise ValueError(
            f"SOLVER.POLY_LR_FLOOR is {solver.POLY_LR_FLOOR}; give a share of BASE_LR, 0 to 1"
        )
    schedule = WarmupParamScheduler(
        _AboveFloor(PolynomialDecayParamScheduler(1.0, solver.POLY_LR_POWER), solver.POLY_LR_FLOOR),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)


class _AboveFloor(ParamScheduler):
    """Scales a decay from 1 to 0 to one from 1 to a floor."""

    def __init__(self, decay: ParamScheduler, floor: float) -> None:
        self._decay, self._floor = decay, floor

    def __call__(self, where: float) -> float:
        return self._floor + (1 - self._floor) * self._decay(where)
