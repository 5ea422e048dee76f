"""Optimizers: groups by kind of parameter, and one bound on the norm of all gradients."""

from typing import Any

import torch
from torch import nn

from ..d2.config import CfgNode
from ..d2.solver import maybe_add_gradient_clipping

__all__ = ["build_optimizer", "parameter_groups"]

_OPTIMIZERS = ("ADAMW", "SGD")


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, weight_decay_vectors: float
) -> list[dict[str, Any]]:
    """Trainable parameters, each once, in two groups.

    Matrices and convolutions decay by ``weight_decay``; biases, norms, scales and embeddings (of
    tokens and of positions) by ``weight_decay_vectors``.

    Paper: [clip] Sec. 2.5: all weights decay that are not gains or biases.
    Departs: embeddings are spared too; a row of theirs is a vector of its own, which most batches
    do not see, and decay would shrink rare tokens.

    Raises:
        ValueError: nothing is trainable.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    matrices, vectors = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        spared = parameter.ndim < 2 or id(parameter) in embeddings or "positional" in name
        (vectors if spared else matrices).append(parameter)
    if not matrices and not vectors:
        raise ValueError(f"{type(model).__name__} has no trainable parameters; nothing to train")
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": weight_decay_vectors},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that ``SOLVER`` describes, detectron2's ``CLIP_GRADIENTS`` included.

    Raises:
        ValueError: an unknown optimizer or type of clipping, or nothing to train.
    """
    solver = cfg.SOLVER
    if solver.OPTIMIZER not in _OPTIMIZERS:
        raise ValueError(
            f"SOLVER.OPTIMIZER {solver.OPTIMIZER!r} is not one of {', '.join(_OPTIMIZERS)}"
        )
    groups = parameter_groups(
        model,
        lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_vectors=solver.WEIGHT_DECAY_VECTORS,
    )
    optimizer: torch.optim.Optimizer
    if solver.OPTIMIZER == "SGD":
        optimizer = torch.optim.SGD(
            groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV
        )
    else:
        optimizer = torch.optim.AdamW(
            groups, lr=solver.BASE_LR, betas=tuple(solver.BETAS), eps=solver.EPS
        )
    optimizer = maybe_add_gradient_clipping(cfg, optimizer)
    if solver.MAX_GRAD_NORM > 0:
        _bound_gradients(optimizer, solver.MAX_GRAD_NORM)
    return optimizer


def _bound_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Scale all gradients together before every step; detectron2 only knows it per parameter.

    A hook and not a subclass: it runs after the loss scaler of mixed precision has undone its
    scale, and neither optimizer states nor their names change.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def scale(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    optimizer.register_step_pre_hook(scale)
