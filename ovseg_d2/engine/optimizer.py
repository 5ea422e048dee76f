"""Optimizers: groups by kind of parameter, and one bound on the norm of all gradients."""

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
    """Trainable parameters, each once, in two groups for each rate of learning.

    Matrices and convolutions decay by ``weight_decay``; biases, norms, scales and embeddings (of
    tokens and of positions, and mask prompts) by ``weight_decay_vectors``.

    Paper: [clip] Sec. 2.5: all weights decay that are not gains or biases.
    Departs: embeddings are spared too; a row of theirs is a vector of its own, which most batches
    do not see, and decay would shrink rare tokens.

    Args:
        model: its parameters that want a gradient are taken.
        lr: of all that no prefix names.
        weight_decay: see above.
        weight_decay_vectors: see above.
        lr_multipliers: names of modules or parameters, such as ("system.decoder", 10.0), and what
            ``lr`` is multiplied by below them; of several that fit, the longest counts.

    Raises:
        ValueError: nothing is trainable, or a prefix names nothing of the model.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix, _ in lr_multipliers:
        if not any(_is_below(name, prefix) for name in names):
            raise ValueError(
                f"SOLVER.LR_MULTIPLIERS names {prefix!r}, and {type(model).__name__} has no "
                f"parameter there; its first is {names[0] if names else 'none'!r}"
            )
    # By name and not by factor: two prefixes of one factor stay apart, should it change.
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
        spared = parameter.ndim < 2 or id(parameter) in embeddings or _is_embedding(name)
        prefix = max((each for each in rates if _is_below(name, each)), key=len)
        members[prefix][spared].append(parameter)
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
    """Whether a parameter that no module of embeddings owns is one, of a place or of a prompt."""
    return "positional" in name or name.rpartition(".")[2] == "prompts"


def _is_below(name: str, prefix: str) -> bool:
    """Whether a parameter is called so, or belongs to a module that is; all belong to ""."""
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that ``SOLVER`` describes, detectron2's ``CLIP_GRADIENTS`` included.

    Raises:
        ValueError: an unknown optimizer or type of clipping, a multiplier of the learning rate
            that is none, or nothing to train.
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
    """Pairs of a name and a factor of at least 0, as the config lists them."""
    found: dict[str, float] = {}
    for entry in entries:
        try:
            prefix, factor = entry
            prefix, factor = str(prefix).rstrip("."), float(factor)
        except (TypeError, ValueError):
            prefix, factor = "", -1.0
        if not prefix or not factor >= 0 or prefix in found:
            raise ValueError(
                f"SOLVER.LR_MULTIPLIERS has the entry {entry!r}; write each module once, with a "
                "factor of at least 0, such as ['system.decoder', 10.0]"
            )
        found[prefix] = factor
    return list(found.items())


def _bound_gradients(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Scale all gradients together before every step; detectron2 only knows it per parameter.

    A hook and not a subclass: it runs after the loss scaler of mixed precision has undone its
    scale, and neither optimizer states nor their names change.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def scale(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)

    optimizer.register_step_pre_hook(scale)
