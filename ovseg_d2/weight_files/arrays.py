"""Pickled numpy arrays and Python containers."""

import math
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from .errors import UnreadableError
from .unpickler import Instance, Name, Restorable

__all__ = ["ARRAY", "PLAIN_FUNCTIONS", "resolve_arrays"]

ARRAY = "numpy.ndarray"
_NUMBERS = re.compile(r"[?bhilqBHILQefdFD]|b1|[iu][1248]|f[248]|c(8|16)")


class _DType(Restorable):
    """A numpy dtype, built from its name only: numpy's unpickling accepts broken dtypes."""

    def __init__(self, name: Any, *_: Any) -> None:
        """Store a name such as "f4"."""
        self._name = _text(name)
        self._order: Literal["<", ">", "="] = "="

    def restore(self, state: Any) -> None:
        """Store the byte order; records and subarrays are not numbers."""
        _version, order, *parts = state
        if any(part is not None for part in parts[:3]):
            self._name = "record"
        sign = _text(order)
        self._order = "<" if sign == "<" else ">" if sign == ">" else "="

    def find(self) -> np.dtype[Any] | None:
        """Return the dtype; None if it is not one of numbers."""
        if not _NUMBERS.fullmatch(self._name):
            return None
        return np.dtype(self._name).newbyteorder(self._order)


class _Array(Restorable):
    """An array whose content follows in the pickle."""

    def __init__(self, kind: Any, *_: Any) -> None:
        """Start without content; subclasses of arrays are refused."""
        if kind != Name(ARRAY):
            raise UnreadableError(
                f"it holds an array of the kind {getattr(kind, 'full', '')[:100]}"
            )
        self.value: Any = None

    def restore(self, state: Any) -> None:
        """Build the array from shape, dtype and bytes."""
        _version, shape, dtype, is_fortran, data = state
        self.value = _build_array(data, dtype, shape, "F" if is_fortran else "C")


def _build_array(data: Any, dtype: Any, shape: Any, order: Any = "C") -> Any:
    number = dtype.find() if isinstance(dtype, _DType) else None
    if number is None:
        return Instance(ARRAY)  # of objects or texts, not weights
    if not all(type(side) is int and side >= 0 for side in shape):
        raise UnreadableError("the shape of an array is damaged")
    data = data.encode("latin1") if isinstance(data, str) else data
    if len(data) != math.prod(shape) * number.itemsize:
        raise UnreadableError(f"an array of shape {tuple(shape)} has {len(data)} bytes")
    flat = np.frombuffer(data, number).astype(number.newbyteorder("="))
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _build_scalar(dtype: Any, data: Any = b"") -> Any:
    array = _build_array(data, dtype, (1,))
    return array if isinstance(array, Instance) else array[0]


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":  # used by pickles of bytes
        raise UnreadableError("its bytes are damaged")
    return text.encode("latin1")


def _build_ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    ordered: OrderedDict[Any, Any] = OrderedDict()
    for key, value in pairs:
        if not isinstance(key, str | int):
            raise UnreadableError(f"a key of its dicts is a {type(key).__name__}")
        ordered[key] = value
    return ordered


def _build_bytes(*parts: Any) -> bytes:
    if not parts:
        return b""
    if isinstance(parts[0], bytes):
        return parts[0]
    if isinstance(parts[0], str):
        return _encode(*parts)
    raise UnreadableError("its bytes are damaged")


_Functions = dict[str, Callable[..., Any]]
_NUMPY: _Functions = {
    "multiarray._reconstruct": _Array,
    "multiarray.scalar": _build_scalar,
    "numeric._frombuffer": _build_array,
}
# Full name -> function called in its place.
PLAIN_FUNCTIONS: _Functions = {
    "collections.OrderedDict": _build_ordered,
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": lambda counts=(): dict(counts),
    "builtins.set": lambda items=(): list(items),
    "builtins.bytes": _build_bytes,
    "builtins.bytearray": _build_bytes,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": lambda kind, *_: Instance(getattr(kind, "full", "object")),
    "numpy.dtype": _DType,
    **{f"numpy.core.{name}": function for name, function in _NUMPY.items()},
    **{f"numpy._core.{name}": function for name, function in _NUMPY.items()},
}


def resolve_arrays(value: Any) -> Any:
    """Replace the placeholders of arrays and dtypes in the content of a pickle."""
    return _resolve(value, {})


def _resolve(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _DType):
        return value.find()
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, dict):
        done[id(value)] = value
        for key, inner in value.items():
            value[key] = _resolve(inner, done)
    elif isinstance(value, list):
        done[id(value)] = value
        value[:] = [_resolve(inner, done) for inner in value]
    elif isinstance(value, tuple):
        done[id(value)] = new = tuple(_resolve(inner, done) for inner in value)
        return new
    return value
