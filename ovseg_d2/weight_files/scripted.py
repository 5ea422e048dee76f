"""The state dict of a TorchScript module, taken from its pickle; none of its code is run."""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from .errors import UnreadableError
from .unpickler import Instance

__all__ = ["script_state"]

_HEADER = r"^class {name}\(Module\):\n((?:  (?!def ).*\n)*)"
_LIST = r"^  {name} = \[(.*)\]$"
# No network has as many, but modules that hold each other twice make any number.
_MOST_MODULES = 100_000
_MOST_LEVELS = 64


def script_state(root: Any, source_of: Callable[[str], str]) -> OrderedDict[str, Tensor]:
    """Collect parameters and buffers, with the names and in the order of ``state_dict()``.

    Args:
        root: the module, as its pickle describes it.
        source_of: gives the source of a module of TorchScript, or "" where it is missing.

    Raises:
        UnreadableError: no module, or one that is restored by code of its own.
    """
    if not isinstance(root, Instance):
        raise UnreadableError("it is TorchScript, but of no module")
    found: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in _entries(root, "", 0, _Registered(source_of)):
        found[name] = value
    return found


class _Registered:
    """Names of parameters, then buffers, of a class; other tensors are constants."""

    def __init__(self, source_of: Callable[[str], str]) -> None:
        self._source_of = source_of
        self._known: dict[str, list[str] | None] = {}
        self._asked = 0

    def __call__(self, kind: str) -> list[str] | None:
        """The names; None where the source does not say that the class is a module."""
        self._asked += 1
        if self._asked > _MOST_MODULES:
            raise UnreadableError(f"it has more than {_MOST_MODULES} modules")
        if kind not in self._known:
            self._known[kind] = self._read(kind)
        return self._known[kind]

    def _read(self, kind: str) -> list[str] | None:
        module, _, name = kind.rpartition(".")
        header = re.search(
            _HEADER.format(name=re.escape(name)), self._source_of(module), re.MULTILINE
        )
        if header is None:
            return None
        names: list[str] = []
        for attribute in ("__parameters__", "__buffers__"):
            listed = re.search(_LIST.format(name=attribute), header[1], re.MULTILINE)
            names += re.findall(r'"(\w+)"', listed[1]) if listed else []
        return names


def _entries(
    module: Instance, prefix: str, level: int, registered: _Registered
) -> Iterator[tuple[str, Tensor]]:
    names = registered(module.kind)
    if names is None:
        return  # a class that is no module has no parameters
    if not isinstance(module.state, dict) or level > _MOST_LEVELS:
        raise UnreadableError(
            f"its class {module.kind[:100]} is restored by code of its own, which is not run",
            "save the state_dict() of the module alone",
        )
    for name in names:
        value = module.state.get(name)
        if isinstance(value, Tensor):
            yield prefix + name, value
    for name, value in module.state.items():
        if isinstance(value, Instance):
            yield from _entries(value, f"{prefix}{name}.", level + 1, registered)
