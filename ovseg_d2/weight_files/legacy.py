"""Single pickles, and the files of `torch.save` before PyTorch 1.6: pickles, then storages."""

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
        file: at its start; never reads more than there is.

    Raises:
        UnreadableError: it holds code, or is damaged.
    """
    first = resolve_arrays(PlainUnpickler(file, TORCH_FUNCTIONS).load())
    return _LegacyFile(file).read() if first == _MAGIC_NUMBER else first


def foreign_names(file: mmap.mmap) -> list[str]:
    """List the names in a pickle that Python's own unpickler would import, but for numpy's arrays.

    Args:
        file: at its start.

    Raises:
        UnreadableError: as for `read_pickle`.
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
            raise UnreadableError("it is of a format of torch.save that is unknown")
        about = self._load()
        if not isinstance(about, dict) or not about.get("little_endian"):
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
        about = parse_storage_id(pid)
        known = self._ids.setdefault(about.key, about)
        if (known.dtype, known.numel) != (about.dtype, about.numel):
            raise UnreadableError("it is damaged")
        if about.key not in self._values:
            self._bytes_left -= about.num_bytes
            if self._bytes_left < 0:
                raise UnreadableError("it is truncated: it has fewer bytes than its tensors")
            self._values[about.key] = torch.zeros(about.numel, dtype=about.dtype)
        values = self._values[about.key]
        if about.view is not None:
            _key, offset, numel = about.view
            values = values.narrow(0, offset, numel)
        return Storage(values)

    def _fill(self, key: str) -> None:
        about, values = self._ids[key], self._values[key]
        if int.from_bytes(self._file.read(8), "little") != about.numel:
            raise UnreadableError("it is damaged")
        data = bytearray(self._file.read(about.num_bytes))
        if len(data) != about.num_bytes:
            raise UnreadableError("it is truncated: it has fewer bytes than its tensors")
        if data:
            values.copy_(torch.frombuffer(data, dtype=about.dtype))
