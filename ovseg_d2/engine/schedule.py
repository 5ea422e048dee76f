"""Learning rate schedules: detectron2's, and the polynomial one."""

import torch
from fvcore.common.param_scheduler import PolynomialDecayParamScheduler

from ..d2.config import CfgNode
from ..d2.solver import LRMultiplier, WarmupParamScheduler
from ..d2.solver import build_lr_scheduler as build_d2_scheduler

__all__ = ["build_lr_scheduler"]


def build_lr_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    """The schedule that ``SOLVER.LR_SCHEDULER_NAME`` names.

    ``WarmupPolyLR`` is (1 - t / T)^power with a warm-up. Departs: detectron2's DeepLab project
    keeps T in the checkpoint, so that a resumed run cannot have a larger ``MAX_ITER``; here T is
    the config's.
    """
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "WarmupPolyLR":
        return build_d2_scheduler(cfg, optimizer)
    schedule = WarmupParamScheduler(
        PolynomialDecayParamScheduler(1.0, solver.POLY_LR_POWER),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
        solver.RESCALE_INTERVAL,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)
