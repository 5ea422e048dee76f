"""Pickled tensors of PyTorch, as views of storages elsewhere in the file."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .arrays import PLAIN_FUNCTIONS
from .errors import UnreadableError
from .unpickler import Name

__all__ = ["TORCH_FUNCTIONS", "Storage", "StorageId", "parse_storage_id"]

_STORAGES = {
    **{"Double": torch.float64, "Float": torch.float32, "Half": torch.float16},
    **{"BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16},
    **{"Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool},
    **{"ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8},
}
# A tensor may repeat values of its storage, but a small file must not fill the memory.
_MOST_REPEATED = 2**26


@dataclass(frozen=True)
class Storage:
    """Values that tensors view, (N,) of any dtype."""

    values: Tensor


@dataclass(frozen=True)
class StorageId:
    """A pickled reference to a storage: its key in the file, dtype and number of values."""

    key: str
    dtype: torch.dtype
    numel: int
    view: Any = None

    @property
    def num_bytes(self) -> int:
        """Size of the storage in bytes."""
        return self.numel * self.dtype.itemsize


def parse_storage_id(pid: Any) -> StorageId:
    """Parse a persistent id of `torch.save`.

    Raises:
        UnreadableError: not such an id, or a dtype that weights do not have.
    """
    if not isinstance(pid, tuple) or not 5 <= len(pid) <= 6 or pid[0] != "storage":
        raise UnreadableError("it refers to data in a way that torch.save does not")
    _, kind, key, _device, numel, *view = pid
    name = kind.full if isinstance(kind, Name) else ""
    dtype = _STORAGES.get(name.rpartition(".")[2].removesuffix("Storage"))
    if dtype is None or not name.startswith("torch."):
        raise UnreadableError(
            f"it holds tensors of {name[:100] or 'no'} type", "give weights that are not quantised"
        )
    if not isinstance(key, str) or type(numel) is not int or numel < 0:
        raise UnreadableError("it is damaged")
    return StorageId(key, dtype, numel, *view)


def _build_view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise UnreadableError("it is damaged")
    if not all(type(number) is int and number >= 0 for number in (offset, *size, *stride)):
        raise UnreadableError("the shape of a tensor is damaged")
    numel, has = math.prod(size), len(storage.values)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if (numel and last >= has) or numel > max(has, _MOST_REPEATED) or len(size) > 32:
        raise UnreadableError(f"a tensor of shape {tuple(size)} has {has} values")
    if not numel:
        return storage.values.new_empty(size)
    return storage.values.as_strided(size, stride, offset)


def _build_typed_view(
    storage: Any, offset: Any, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise UnreadableError("it is damaged")
    return _build_view(Storage(storage.values.view(dtype)), offset, size, stride)


def _first(value: Any, *_: Any) -> Any:
    return value


def _rebuild_from_type(function: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    if not isinstance(function, Name) or function.full not in _REBUILD:
        raise UnreadableError("it holds tensors of an unknown subclass")
    return _REBUILD[function.full](*arguments)


_REBUILD: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _build_view,
    "torch._utils._rebuild_tensor_v2": _build_view,
    "torch._utils._rebuild_tensor_v3": _build_typed_view,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
}
# Full name -> function called in its place.
TORCH_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **PLAIN_FUNCTIONS,
    **_REBUILD,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.Size": _first,
    "torch.device": lambda *_: "cpu",
    "torch.serialization._get_layout": _first,
    **{
        f"torch.jit._pickle.{name}": _first
        for name in (
            *("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist"),
            "restore_type_tag",
        )
    },
}
