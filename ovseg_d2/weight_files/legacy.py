"""Plain pickles, and files of `torch.save` before PyTorch 1.6: pickles followed by storages."""

import mmap
from typing import Any

import torch

from .arrays import ARRAY, PLAIN_FUNCTIONS, resolve_arrays
from .errors import UnreadableError
from .tensors import TORCH_FUNCTIONS, Storage, StorageId, parse_storage_id
from .unpickler import PlainUnpickler

__all__ = ["foreign_names", "read_pickle"]

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_pickle(file: mmap.mmap) -> Any:
    """Read a pickle of arrays and plain containers, or an old file of `torch.save`.

    Args:
        file: at its start.

    Raises:
        UnreadableError: the file holds code, or is damaged.
    """
    first = resolve_arrays(PlainUnpickler(file, TORCH_FUNCTIONS).load())
    return _LegacyFile(file).read() if first == _MAGIC_NUMBER else first


def foreign_names(file: mmap.mmap) -> list[str]:
    """List the names in a pickle that Python's unpickler would import, except numpy's arrays.

    Arguments and errors are those of `read_pickle`.
    """
    unpickler = PlainUnpickler(file, PLAIN_FUNCTIONS)
    unpickler.load()
    return sorted(unpickler.names - PLAIN_FUNCTIONS.keys() - {ARRAY})


class _LegacyFile:
    def __init__(self, file: mmap.mmap) -> None:
        self._file = file
        self._bytes_left = len(file)
        self._ids: dict[str, StorageId] = {}
        self._values: dict[str, torch.Tensor] = {}

    def read(self) -> Any:
        if self._load() != _PROTOCOL:
            raise UnreadableError("it is of an unknown format of torch.save")
        system = self._load()
        if not isinstance(system, dict) or not system.get("little_endian"):
            raise UnreadableError("it was written on a machine of another byte order")
        content = resolve_arrays(PlainUnpickler(self._file, TORCH_FUNCTIONS, self._storage).load())
        keys = self._load()
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(self._values):
            raise UnreadableError("it is damaged")
        for key in keys:
            self._fill(str(key))
        return content

    def _load(self) -> Any:
        return PlainUnpickler(self._file, TORCH_FUNCTIONS).load()

    def _storage(self, pid: Any) -> Storage:
        storage_id = parse_storage_id(pid)
        key, dtype, numel = storage_id.key, storage_id.dtype, storage_id.numel
        known = self._ids.setdefault(key, storage_id)
        if (known.dtype, known.numel) != (dtype, numel):
            raise UnreadableError("it is damaged")
        if key not in self._values:
            self._bytes_left -= storage_id.num_bytes
            if self._bytes_left < 0:
                raise UnreadableError("it is truncated: it has fewer bytes than its tensors")
            self._values[key] = torch.zeros(numel, dtype=dtype)
        values = self._values[key]
        if storage_id.view is not None:
            _key, offset, numel = storage_id.view
            values = values.narrow(0, offset, numel)
        return Storage(values)

    def _fill(self, key: str) -> None:
        storage_id, values = self._ids[key], self._values[key]
        if int.from_bytes(self._file.read(8), "little") != storage_id.numel:
            raise UnreadableError("it is damaged")
        data = bytearray(self._file.read(storage_id.num_bytes))
        if len(data) != storage_id.num_bytes:
            raise UnreadableError("it is truncated: it has fewer bytes than its tensors")
        if data:
            values.copy_(torch.frombuffer(data, dtype=storage_id.dtype))
