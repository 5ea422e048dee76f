"""The state dict of a TorchScript module, from its pickle; none of its code is executed."""

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
# More than any network has; modules that contain each other twice give any number.
_MOST_MODULES = 100_000
_MOST_LEVELS = 64


def script_state(root: Any, source_of: Callable[[str], str]) -> OrderedDict[str, Tensor]:
    """Collect parameters and buffers, with the names and in the order of ``state_dict()``.

    Args:
        root: the pickled module.
        source_of: returns the source of a TorchScript module, or "" if missing.

    Raises:
        UnreadableError: not a module, or one that is restored by its own code.
    """
    if not isinstance(root, Instance):
        raise UnreadableError("it is TorchScript, but not of a module")
    return OrderedDict(_entries(root, "", 0, _Registered(source_of)))


class _Registered:
    """Looks up the parameters, then buffers, of a class; its other tensors are constants."""

    def __init__(self, source_of: Callable[[str], str]) -> None:
        self._source_of = source_of
        self._known: dict[str, list[str] | None] = {}
        self._calls = 0

    def __call__(self, kind: str) -> list[str] | None:
        """Return the names; None if the class is not a module by its source."""
        self._calls += 1
        if self._calls > _MOST_MODULES:
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
        return  # only modules have parameters
    if not isinstance(module.state, dict) or level > _MOST_LEVELS:
        raise UnreadableError(
            f"its class {module.kind[:100]} is restored by its own code, which is not executed",
            "save only the state_dict() of the module",
        )
    for name in names:
        value = module.state.get(name)
        if isinstance(value, Tensor):
            yield prefix + name, value
    for name, value in module.state.items():
        if isinstance(value, Instance):
            yield from _entries(value, f"{prefix}{name}.", level + 1, registered)
