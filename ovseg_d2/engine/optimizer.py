"""Optimizers: parameter groups by kind, and one bound on the norm of all gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..d2.config import CfgNode
from ..d2.solver import maybe_add_gradient_clipping

__all__ = ["build_optimizer", "parameter_groups"]

_OPTIMIZERS = ("ADAMW", "SGD")


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    weight_decay_vectors: float,
    lr_multipliers: Sequence[tuple[str, float]] = (),
) -> list[dict[str, Any]]:
    """Trainable parameters, each once, in two groups for each learning rate.

    Matrices and convolutions decay by ``weight_decay``; biases, norms, scales and embeddings (of
    tokens and of positions, and mask prompts) by ``weight_decay_vectors``.

    Paper: [clip] Sec. 2.5: all weights decay that are not gains or biases.
    Departs: embeddings are exempt too; each of their rows is a vector that most batches do not use,
    and decay would shrink rare tokens.

    Args:
        model: its parameters with ``requires_grad`` are taken.
        lr: learning rate of all parameters without a multiplier.
        weight_decay: of matrices and convolutions.
        weight_decay_vectors: of all other parameters.
        lr_multipliers: module or parameter names and the factor of ``lr`` below them, such as
            ("system.decoder", 10.0); the longest name that fits counts.

    Raises:
        ValueError: nothing is trainable, or a name is not in the model.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix, _ in lr_multipliers:
        if not any(_is_below(name, prefix) for name in names):
            raise ValueError(
                f"SOLVER.LR_MULTIPLIERS names {prefix!r}, and {type(model).__name__} has no "
                f"parameter there; its first is {names[0] if names else 'none'!r}"
            )
    # By name and not by factor, so that two names of one factor keep groups of their own.
    rates = {"": 1.0} | {prefix: float(factor) for prefix, factor in lr_multipliers}
    members: dict[str, tuple[list[nn.Parameter], list[nn.Parameter]]] = {
        prefix: ([], []) for prefix in rates
    }
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_vector = parameter.ndim < 2 or id(parameter) in embeddings or _is_embedding(name)
        prefix = max((known for known in rates if _is_below(name, known)), key=len)
        members[prefix][is_vector].append(parameter)
    groups = [
        {"params": parameters, "lr": lr * rates[prefix], "weight_decay": decay}
        for prefix, both in members.items()
        for parameters, decay in zip(both, (weight_decay, weight_decay_vectors), strict=True)
        if parameters
    ]
    if not groups:
        raise ValueError(f"{type(model).__name__} has no trainable parameters; nothing to train")
    return groups


def _is_embedding(name: str) -> bool:
    """Whether a bare parameter is a position or prompt embedding, by its name."""
    return "positional" in name or name.rpartition(".")[2] == "prompts"


def _is_below(name: str, prefix: str) -> bool:
    """Whether a name or a module holds a parameter; "" holds all."""
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that ``SOLVER`` describes, detectron2's ``CLIP_GRADIENTS`` included.

    Raises:
        ValueError: an unknown optimizer or type of clipping, a bad multiplier of the learning
            rate, or nothing to train.
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
        lr_multipliers=_read_multipliers(solver.LR_MULTIPLIERS),
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


def _read_multipliers(entries: Sequence[Any]) -> list[tuple[str, float]]:
    """Names and factors of at least 0 from the config's list."""
    multipliers: dict[str, float] = {}
    for entry in entries:
        try:
            prefix, factor = entry
            prefix, factor = str(prefix).rstrip("."), float(factor)
        except (TypeError, ValueError):
            prefix, factor = "", -1.0
        if not prefix or not factor >= 0 or prefix in multipliers:
            raise ValueError(
                f"SOLVER.LR_MULTIPLIERS has the entry {entry!r}; write each module once, with a "
                "factor of at least 0, such as ['system.decoder', 10.0]"
            )
        multipliers[prefix] = factor
    return list(multipliers.items())


def _bound_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Bound the norm of all gradients together before every step; detectron2 does it by parameter.

    A hook runs after mixed precision has unscaled the gradients, and unlike a subclass it changes
    neither the optimizer's states nor their names.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def scale(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    optimizer.register_step_pre_hook(scale)
