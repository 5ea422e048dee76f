"""An unpickler that imports nothing and calls only functions from a table.

A pickle is a program whose instructions import and call any function of Python. Here names stay
names (`Name`), objects stay data (`Instance`), and calls of functions outside of the table are
refused.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from .errors import TRUST, UnreadableError

__all__ = ["Instance", "Name", "PlainUnpickler", "Restorable"]

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # modules of Python 2
_ATOMS = (str, bytes, int, float, bool, type(None))


@dataclass(frozen=True)
class Name:
    """Full name of a global in a pickle; its module is not imported."""

    full: str


@dataclass
class Instance:
    """An object whose class is not imported.

    Attributes:
        kind: full name of the class.
        state: content of the object.
    """

    kind: str
    state: Any = field(default=None, repr=False)


class Restorable:
    """An object that a pickle builds in two steps."""

    def restore(self, state: Any) -> None:
        """Set the object's content."""
        raise NotImplementedError


class PlainUnpickler(pickle._Unpickler):
    """Reads one pickle of a file.

    It extends Python's unpickler that is written in Python: unlike the one in C, it never allocates
    more than the file holds. Instructions that import, call or change objects are replaced.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    # Undocumented attributes of the base class.
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        file: Any,
        functions: Mapping[str, Callable[..., Any]],
        find_storage: Callable[[Any], Any] | None = None,
    ) -> None:
        """Prepare to read a file.

        Args:
            file: has ``read`` and ``readline``.
            functions: full name -> function called in its place.
            find_storage: returns the object of a persistent id; None refuses such ids.
        """
        super().__init__(file, encoding="latin1")  # bytes of Python 2, as in arrays
        self.names: set[str] = set()  # full names in the pickle so far
        self._functions = functions
        self._find_storage = find_storage

    def find_class(self, module: str, name: str) -> Any:
        """Return the name as a `Name`, or a dtype of torch."""
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        full = f"{_RENAMED.get(module, module)}.{name}"
        self.names.add(full)
        return Name(full)

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage of a persistent id."""
        if self._find_storage is None:
            raise UnreadableError("it refers to data outside of the file")
        return self._find_storage(pid)

    def get_extension(self, code: int) -> None:
        """Refuse names registered under a number."""
        raise UnreadableError(f"it refers to an object by number {code}")

    def _call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise UnreadableError("it is damaged")
        if function.full not in self._functions:
            raise UnreadableError(
                f"it holds code: loading it would call {function.full[:100]!r}, which is refused",
                TRUST,
            )
        return self._functions[function.full](*arguments)

    def _make(self, kind: Any, arguments: Any) -> Any:
        """Build an object: as data, unless its class is in the table."""
        if isinstance(kind, Name) and kind.full not in self._functions:
            return Instance(kind.full)
        return self._call(kind, arguments)

    def _load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def _load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._make(self.stack[-1], arguments)

    def _load_newobj_ex(self) -> None:
        self.stack.pop()
        self._load_newobj()

    def _instantiate(self, kind: Any, arguments: list[Any]) -> None:
        """Build an object by instructions of old protocols."""
        self.append(self._call(kind, tuple(arguments)) if arguments else self._make(kind, ()))

    def _load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Instance):
            target.state = state
        elif isinstance(target, Restorable):
            target.restore(state)
        elif isinstance(target, OrderedDict) and isinstance(state, dict):
            _keep_versions(target, state)
        else:
            raise UnreadableError(f"it changes an object of {type(target).__name__}")

    def _put(self, target: Any, keys: list[Any], values: list[Any]) -> None:
        if isinstance(target, Instance):
            return
        if not isinstance(target, dict):
            raise UnreadableError("it is damaged")
        for key, value in zip(keys, values, strict=True):
            target[_key(key)] = value

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put(self.stack[-1], [key], [value])

    def _load_setitems(self) -> None:
        items = self.pop_mark()
        self._put(self.stack[-1], items[::2], items[1::2])

    def _load_dict(self) -> None:
        items = self.pop_mark()
        target: dict[Any, Any] = {}
        self._put(target, items[::2], items[1::2])
        self.append(target)

    def _load_append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    def _load_appends(self) -> None:
        items = self.pop_mark()
        self._extend(self.stack[-1], items)

    def _extend(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Instance):
            raise UnreadableError("it is damaged")

    def _load_additems(self) -> None:
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
            raise UnreadableError("it is damaged")
        self.stack[-1].update(map(_key, items))

    def _load_frozenset(self) -> None:
        self.append(frozenset(map(_key, self.pop_mark())))

    def _load_bytearray(self) -> None:
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    dispatch.update(
        {
            pickle.REDUCE[0]: _load_reduce,
            pickle.NEWOBJ[0]: _load_newobj,
            pickle.NEWOBJ_EX[0]: _load_newobj_ex,
            pickle.BUILD[0]: _load_build,
            pickle.SETITEM[0]: _load_setitem,
            pickle.SETITEMS[0]: _load_setitems,
            pickle.DICT[0]: _load_dict,
            pickle.APPEND[0]: _load_append,
            pickle.APPENDS[0]: _load_appends,
            pickle.ADDITEMS[0]: _load_additems,
            pickle.FROZENSET[0]: _load_frozenset,
            pickle.BYTEARRAY8[0]: _load_bytearray,
        }
    )


def _key(key: Any) -> Any:
    """Check a key: hashing deeply nested tuples would overflow the stack."""
    parts = key if isinstance(key, tuple) else (key,)
    if all(isinstance(part, _ATOMS) for part in parts):
        return key
    raise UnreadableError(f"a key of its dicts is a {type(key).__name__}")


def _keep_versions(target: OrderedDict[Any, Any], state: dict[Any, Any]) -> None:
    """Keep the module versions that PyTorch stores beside a state dict."""
    versions = state.get("_metadata")
    if isinstance(versions, dict) and all(
        isinstance(version, dict) for version in versions.values()
    ):
        target._metadata = versions  # type: ignore[attr-defined]
