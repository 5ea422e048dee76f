"""Weights that arrive in a model: renamed if they are a release's, and refused if they do not fit.

Every checkpointer, detectron2's own too, ends in a model's ``load_state_dict``, which calls these
functions.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from ..checkpoints import recognise
from ..clip import Training, training_of
from ..weight_files import describe_method
from .weights import MisfitError

__all__ = [
    "await_weights",
    "awaited_parts",
    "check_arrival",
    "check_shared",
    "describe_misfit",
    "is_counted",
    "misfit",
    "take_release",
]

_logger = logging.getLogger(__name__)
_SHOWN = 5
# Attribute of a module that was built with random weights because a checkpoint holds its weights.
_AWAITED = "awaited_part"
# Parts of names, behind which those of a network follow.
_NETWORKS = ("backbone.", "tower.model.")


def take_release(model: nn.Module, weights: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename the weights of a release to this project's names, and list what is left out.

    The activation and the pixel statistics of a release's CLIP are given to the model.

    Args:
        model: with a method ``adopt_training`` if it has a CLIP, and an attribute ``keeps`` if
            loading leaves a part unchanged: the beginning of its names.
        weights: state dict of any origin.

    Returns:
        The renamed weights, without those of the part that the model keeps; the argument itself if
        nothing changes.

    Raises:
        MisfitError: the release belongs in another config key, or is of other sizes.
    """
    release = recognise(weights)
    keeps: str = getattr(model, "keeps", "")
    if release is None:
        return _without(weights, keeps) if keeps else weights
    if release.convert is None or not release.whole:
        raise MisfitError(f"is {release.title}", f"it belongs in {release.place}")
    try:
        converted = release.convert(weights)
    except ValueError as error:
        raise MisfitError(f"has the names of {release.title}", str(error)) from error
    renamed = _without(converted.weights, keeps) if keeps else converted.weights
    own = model.state_dict()
    shapes = [
        (name, tuple(value.shape), tuple(own[name].shape))
        for name, value in renamed.items()
        if name in own and own[name].shape != value.shape
    ]
    # A frozen norm has no counter of batches, which the file may have.
    unexpected = [name for name in renamed if name not in own and is_counted(name)]
    missing = [] if own.keys() & renamed.keys() else list(own)
    if shapes or missing or any(_is_deeper(name, own) for name in unexpected):
        raise MisfitError(
            f"is {release.title} and does not fit {type(model).__name__}: "
            f"{describe_misfit(missing, unexpected, shapes)}",
            f"it belongs in {release.place}",
        )
    by_reason: dict[str, list[str]] = defaultdict(list)
    for name, reason in converted.left_out.items():
        by_reason[reason].append(name)
    left_out = "; ".join(
        f"{len(names)} ({reason}): {_some(names)}" for reason, names in by_reason.items()
    )
    _logger.info(
        "MODEL.WEIGHTS is %s: %d of its %d tensors are used%s",
        *(release.title, len(weights) - len(converted.left_out), len(weights)),
        f"; left out are {left_out}" if left_out else "",
    )
    adopt: Callable[[Training], None] | None = getattr(model, "adopt_training", None)
    if adopt is not None:
        adopt(training_of(release))
    return renamed


def _without(weights: Mapping[str, Any], start: str) -> dict[str, Any]:
    return {name: value for name, value in weights.items() if not name.startswith(start)}


def _is_deeper(name: str, own: Iterable[str]) -> bool:
    """Whether a weight is of a backbone or a CLIP that a model has with fewer layers."""
    for part in _NETWORKS:
        start, found, _ = name.partition(part)
        if found and any(other.startswith(start + part) for other in own):
            return True
    return False


def check_shared(model: nn.Module, weights: Mapping[str, Any]) -> None:
    """Refuse weights that share no name with a model.

    Raises:
        MisfitError: there is none, apart from counters of batches.
    """
    own = model.state_dict()
    counted = [name for name in own if is_counted(name)]
    if counted and not any(name in weights for name in counted):
        raise misfit(model, counted, [name for name in weights if name not in own], [])


def misfit(
    model: nn.Module,
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> MisfitError:
    """Return the error about weights that do not fit; arguments are those of `describe_misfit`."""
    method = describe_method(unexpected)
    return MisfitError(
        f"does not fit {type(model).__name__}: {describe_misfit(missing, unexpected, shapes)}",
        f"{f'its names are those of {method}; ' if method else ''}give a "
        "checkpoint of this model (weights of CLIP alone belong in MODEL.CLIP.PRETRAINED)",
    )


def describe_misfit(
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]],
) -> str:
    """Describe what does not fit, with up to five names of each kind; "" if everything fits.

    Args:
        missing: names of the model without weights.
        unexpected: names of weights that the model does not have.
        shapes: names with the shape in the file and the model's.
    """
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [
            f"{name} {tuple(file)} instead of {tuple(model)}" for name, file, model in shapes
        ],
    }
    return "; ".join(
        f"{len(names)} {kind}: {_some(names)}" for kind, names in kinds.items() if names
    )


def is_counted(name: str) -> bool:
    """Whether a tensor counts as a weight; a batch norm's counter of batches does not."""
    return not name.endswith("num_batches_tracked")


def await_weights(module: nn.Module, part: str) -> None:
    """Mark a module that has random weights until a checkpoint brings its own.

    Args:
        module: a part of a model.
        part: what it is, such as "CLIP".
    """
    setattr(module, _AWAITED, part)


def awaited_parts(model: nn.Module) -> list[str]:
    """Return the parts of a model that still await their weights."""
    return [getattr(module, _AWAITED) for module in model.modules() if _is_awaited(module)]


def check_arrival(model: nn.Module, missing: Sequence[str]) -> None:
    """Check that every part that awaits its weights has got all of them.

    Args:
        model: weights have been loaded into it.
        missing: names of the model that had no weights.

    Raises:
        MisfitError: weights of such a part are missing.
    """
    for prefix, module in model.named_modules():
        if not _is_awaited(module):
            continue
        part = getattr(module, _AWAITED)
        start = f"{prefix}." if prefix else ""
        lacking = [name for name in missing if name.startswith(start) and is_counted(name)]
        if lacking:
            raise MisfitError(
                f"holds a {part}, but not all of that of {type(model).__name__}: "
                f"{describe_misfit(lacking, [], [])}",
                "give a checkpoint of this model",
            )
        delattr(module, _AWAITED)


def _is_awaited(module: nn.Module) -> bool:
    return hasattr(module, _AWAITED)


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
