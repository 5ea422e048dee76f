"""PyTorch's zip archives, of `torch.save` and of TorchScript; their code is not executed."""

import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any, cast

import torch

from .arrays import resolve_arrays
from .errors import UnreadableError
from .scripted import script_state
from .tensors import TORCH_FUNCTIONS, Storage, parse_storage_id
from .unpickler import PlainUnpickler

__all__ = ["read_archive"]

_MOST_CODE = 2**24  # bytes of one source file


def read_archive(path: Path, *, values: bool = True) -> Any:
    """Read the saved object of an archive, or the state dict of a TorchScript module.

    Args:
        path: the file.
        values: False leaves the values of tensors unread: they are on the meta device.

    Raises:
        UnreadableError: the file is not an archive of PyTorch, or damaged.
    """
    with zipfile.ZipFile(path) as archive:
        return _Archive(archive, os.path.getsize(path), values).read()


class _Archive:
    def __init__(self, archive: zipfile.ZipFile, size: int, values: bool) -> None:
        self._zip = archive
        self._values = values
        self._entries = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in self._entries if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise UnreadableError(*_describe(list(self._entries)))
        if sum(info.compress_size for info in self._entries.values()) > size:
            raise UnreadableError("its parts overlap")
        self._root = pickles[0].removesuffix("data.pkl")
        self._storages: dict[str, Storage] = {}

    def read(self) -> Any:
        order = self._entry("byteorder")
        if order is not None and self._bytes(order) != sys.byteorder.encode():
            raise UnreadableError("it was written on a machine of another byte order")
        data = self._entry("data.pkl")
        assert data is not None
        unpickler = PlainUnpickler(io.BytesIO(self._bytes(data)), TORCH_FUNCTIONS, self._storage)
        content = resolve_arrays(unpickler.load())
        if self._entry("constants.pkl") is None:
            return content
        return script_state(content, self._source)

    def _entry(self, name: str) -> zipfile.ZipInfo | None:
        return self._entries.get(self._root + name)

    def _bytes(self, info: zipfile.ZipInfo) -> bytearray:
        """Read an entry that is not compressed; a compressed one could unpack to any size."""
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise UnreadableError(
                f"its part {info.filename[:100]!r} is compressed, which PyTorch does not do",
                "give the file that torch.save wrote",
            )
        data = bytearray(info.file_size)
        with self._zip.open(info) as file:
            # Reading to the end compares the checksum.
            if cast(io.BufferedIOBase, file).readinto(data) != len(data) or file.read(1):
                raise UnreadableError("it is truncated")
        return data

    def _storage(self, pid: Any) -> Storage:
        storage_id = parse_storage_id(pid)
        key = storage_id.key
        info = self._entry(f"data/{key}")
        if info is None or info.file_size != storage_id.num_bytes:
            raise UnreadableError(
                f"its part {'data/' + key[:100]!r} has {info.file_size if info else 'no'} "
                f"bytes instead of {storage_id.num_bytes}"
            )
        if not self._values:
            return Storage(torch.empty(storage_id.numel, dtype=storage_id.dtype, device="meta"))
        if key not in self._storages:
            data = self._bytes(info)
            # An empty buffer cannot be viewed.
            empty = torch.empty(0, dtype=torch.uint8)
            values = torch.frombuffer(data, dtype=torch.uint8) if data else empty
            self._storages[key] = Storage(values)
        return Storage(self._storages[key].values.view(storage_id.dtype))

    def _source(self, module: str) -> str:
        """Source of a TorchScript module, such as ``__torch__.torch.nn``; "" if missing."""
        info = self._entry(f"code/{module.replace('.', '/')}.py")
        if info is None or info.file_size > _MOST_CODE:
            return ""
        with self._zip.open(info) as file:
            return file.read(_MOST_CODE).decode("utf-8")


def _describe(names: list[str]) -> tuple[str, str]:
    """Return what a zip archive without weights is, and the remedy."""
    weights = [name for name in names if name.endswith((".pth", ".pt", ".pkl", ".safetensors"))]
    if any(name.endswith(".npy") for name in names):
        return "it is an archive of numpy's arrays (.npz)", "give weights of PyTorch"
    if any(name.endswith("pickle_module_info.txt") for name in names):
        return "it is an archive of torch.package, which holds code", "save only its state dict"
    if weights:
        return (
            f"it is a zip archive that holds {weights[0][:100]!r}",
            "unpack it and give that file",
        )
    first = f" and begins with {names[0][:100]!r}" if names else " and is empty"
    return f"it is a zip archive, but not of PyTorch{first}", "give a file of weights"
