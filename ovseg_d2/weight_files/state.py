"""Search for the state dict in the content of a weight file, and its checks."""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import WeightFileError
from .reading import read_weight_file
from .unpickler import Instance

__all__ = ["below_wrappers", "find_weights", "first_not_finite", "read_state_dict"]

# Entries under which trainers store a state dict; the first one present is used.
_PLAIN = (
    *("state_dict", "model_state_dict", "model_state", "model", "weights", "params", "teacher"),
    "module",  # DeepSpeed
)
_EMA = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
_MOST_WRAPPERS = 4
_LONGEST_NAME = 1000  # letters
# Parts that wrappers add before the names of a network, or inside of them.
_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_PARALLEL = "module."
_AROUND_NETWORK = (_PARALLEL, "model.", "backbone.", "encoder.", "clip.")
_SAVE_STATE = "save only the state_dict() of the model"


def read_state_dict(
    path: str | os.PathLike[str], *, ema_first: bool = False, values: bool = True
) -> dict[str, Any]:
    """Read the state dict in a file, see `find_weights`, and `read_weight_file` for ``values``.

    Raises:
        FileNotFoundError: the file does not exist.
        WeightFileError: it holds no usable weights.
    """
    return find_weights(read_weight_file(path, values=values), path, ema_first=ema_first)[0]


def find_weights(
    content: Any, path: str | os.PathLike[str], *, ema_first: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Find the state dict in the content of a file, under the entries that trainers use.

    Arrays become tensors. "module." before all names (DataParallel) is removed, and anywhere
    "_orig_mod." (torch.compile), "_fsdp_wrapped_module." and "_checkpoint_wrapped_module.".

    Args:
        content: from `read_weight_file`.
        path: the file, for the error.
        ema_first: prefer the moving average of the weights if the file has both.

    Returns:
        The state dict, and the other entries of the file. Values of the state dict other than
        tensors and arrays are unchanged.

    Raises:
        WeightFileError: there is no state dict, a name is not a text, or a value is not finite.
    """
    path = os.fspath(path)
    others: dict[str, Any] = {}
    wrappers = _EMA + _PLAIN if ema_first else _PLAIN + _EMA
    state = content
    for _ in range(_MOST_WRAPPERS):  # a dict may hold itself
        if not isinstance(state, dict):
            break
        wrapper = next((key for key in wrappers if isinstance(state.get(key), dict)), None)
        if wrapper is None:
            break
        others.update({key: value for key, value in state.items() if key != wrapper})
        state = state[wrapper]
    if isinstance(state, Tensor) and state.ndim == 2:
        raise WeightFileError(
            path,
            f"it holds the text embeddings of {len(state)} classes, as MaskCLIP's code stores them",
            "give a model or a whole CLIP, which encodes the words of any vocabulary itself",
        )
    if not isinstance(state, dict):
        raise WeightFileError(path, f"it holds {_kind(state)}, not a state dict", _SAVE_STATE)
    whole = next((k for k in wrappers if isinstance(state.get(k), Instance)), None)
    if whole is not None:
        problem = f"its entry {whole!r} holds {_kind(state[whole])}, not a state dict"
        raise WeightFileError(path, problem, _SAVE_STATE)
    if not state or not any(isinstance(value, Tensor | np.ndarray) for value in state.values()):
        raise WeightFileError(path, "it holds no weights by name", "give another file")
    return _checked(state, path), others


def _kind(value: Any) -> str:
    if isinstance(value, Instance):
        return f"a whole object ({value.kind[:100]})"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isprintable() and len(name) <= _LONGEST_NAME


def _checked(state: dict[Any, Any], path: str) -> dict[str, Any]:
    strange = [name for name in state if not _is_name(name)]
    if strange:
        shown = f"{strange[0]!r:.60}" if isinstance(strange[0], str) else _kind(strange[0])
        problem = f"the key of one of its entries is {shown}, which is not the name of a weight"
        raise WeightFileError(path, problem, _SAVE_STATE)
    diverged = first_not_finite(state)
    if diverged is not None:
        problem = f"its entry {diverged!r} has values that are not finite (NaN or infinity)"
        raise WeightFileError(path, problem, "give weights from before the training diverged")
    checked: OrderedDict[str, Any] = OrderedDict()
    plain = {name: _without_wrappers(name) for name in state}
    is_parallel = all(name.startswith(_PARALLEL) for name in plain.values())
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        checked[plain[name].removeprefix(_PARALLEL) if is_parallel else plain[name]] = value
    if len(checked) < len(state):
        twice = next(name for name in state if plain[name] != name)
        problem = f"it has the weight {plain[twice]!r} twice, once as {twice!r}"
        raise WeightFileError(path, problem, _SAVE_STATE)
    if hasattr(state, "_metadata") and not is_parallel:
        checked._metadata = state._metadata  # type: ignore[attr-defined]
    return checked


def _without_wrappers(name: str) -> str:
    for wrapper in _INSIDE:
        name = name.replace(wrapper, "")
    return name


def first_not_finite(state: Mapping[str, Any]) -> str | None:
    """Return the name of the first tensor or array with NaN or infinity; None if all are finite.

    Args:
        state: names and weights; values of other types, or on the meta device, are ignored.
    """
    for name, value in state.items():
        tensor = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        if not isinstance(tensor, Tensor) or tensor.is_meta:
            continue
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        if tensor.itemsize == 1:
            tensor = tensor.float()  # 8-bit dtypes have few operations
        if not torch.isfinite(tensor).all():
            return name
    return None


def below_wrappers(
    state: dict[str, Any], own_names: Callable[[], Collection[str]]
) -> dict[str, Any]:
    """Take a network's weights out of a state dict with a prefix such as "backbone.".

    Args:
        state: names and weights.
        own_names: returns the names of the network's weights; called only if there is a prefix. A
            prefix that they have too is kept.

    Returns:
        The weights below the prefix that most names have, without it; ``state`` if there is none.
    """
    for prefix in _AROUND_NETWORK:
        below = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if 2 * len(below) > len(state):
            if any(name.startswith(prefix) for name in own_names()):
                return state
            return below_wrappers(below, own_names)
    return state
