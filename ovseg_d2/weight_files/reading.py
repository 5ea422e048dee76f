"""Reading of a weight file of any known format."""

import json
import mmap
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from .archives import read_archive
from .errors import DOWNLOAD_AGAIN, TRUST, UnreadableError, WeightFileError
from .identify import identify
from .legacy import foreign_names, read_pickle

__all__ = ["check_plain_pickle", "read_metadata", "read_weight_file"]

_Result = TypeVar("_Result")

_HEAD = 4096  # bytes that identify a file
_END_OF_ZIP = b"PK\x05\x06"
_LONGEST_TAIL = 2**16 + 22  # bytes: the end of a zip archive and its comment
_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
# Errors of unpickling, unzipping and building tensors on damaged bytes.
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, SafetensorError),
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, AssertionError),
    *(RuntimeError, OverflowError, MemoryError, OSError),
)


def check_plain_pickle(path: str | os.PathLike[str]) -> None:
    """Refuse a pickle that makes Python's unpickler import or call anything except arrays.

    Raises:
        WeightFileError: the file is such a pickle, or not a pickle.
    """
    with _sentences(Path(path)):
        names = _with_pickle(Path(path), foreign_names)
        if names:
            raise UnreadableError(
                f"it holds code: loading it would import {names[0][:100]!r}", TRUST
            )


def read_weight_file(path: str | os.PathLike[str], *, values: bool = True) -> Any:
    """Read the content of a weight file; nothing in it is executed.

    The format is identified by the content: safetensors, archives and old files of `torch.save`,
    TorchScript (its state dict, read without executing it), and pickles of arrays, as published by
    detectron2 and MaskFormer. Tensors and arrays keep their dtypes and are on the CPU. Objects of
    other classes become placeholders without behaviour.

    Args:
        path: the file.
        values: False leaves the values in archives and safetensors unread, which is fast: the
            tensors are on the meta device.

    Raises:
        FileNotFoundError: the file does not exist.
        WeightFileError: the file is of another format, damaged, or holds code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {str(path)!r}; check the path")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise WeightFileError(
            str(path), f"the system says {error.strerror!r}", "check its permissions"
        ) from error
    with _sentences(path):
        return _read(path, head, values)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str] | None:
    """Read the texts beside the tensors of a safetensors file; None for files of other formats.

    Raises:
        WeightFileError: the file is a damaged safetensors file.
    """
    with _sentences(Path(path)):
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
        if not _is_safetensors(head):
            return None
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn errors about the content into `WeightFileError`."""
    try:
        yield
    except UnreadableError as error:
        raise WeightFileError(str(path), error.problem, error.remedy) from error
    except _DAMAGE as error:
        raise WeightFileError(str(path), _describe_damage(path), DOWNLOAD_AGAIN) from error


def _with_pickle(path: Path, read: Callable[[mmap.mmap], _Result]) -> _Result:
    """Read a pickle from a memory map of the file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return read(data)


def _read(path: Path, head: bytes, values: bool) -> Any:
    if head.startswith(b"PK\x03\x04"):
        return read_archive(path, values=values)
    if _is_safetensors(head) or (path.suffix == ".safetensors" and head[8:9] == b"{"):
        return load_file(path) if values else _safetensors_layout(path)
    # Protocols from 2 on begin with 0x80; older ones are texts.
    if head.startswith(b"\x80") or (path.suffix == ".pkl" and head[:1] in b"(}]c" and head):
        return _with_pickle(path, read_pickle)
    raise UnreadableError(*identify(head))


def _safetensors_layout(path: Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def _is_safetensors(head: bytes) -> bool:
    size = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= size <= _LONGEST_HEADER


def _describe_damage(path: Path) -> str:
    """Describe damage; truncation if the file's directory is missing or names a larger size."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK") and _END_OF_ZIP not in _tail(path):
        return "it is truncated: its end, which lists the tensors, is missing"
    if _is_safetensors(head):
        size, needed = os.path.getsize(path), _safetensors_size(path)
        if needed > size:
            return f"it is truncated: it has {size} of its {needed} bytes"
    return "it is damaged"


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-min(os.path.getsize(path), _LONGEST_TAIL), os.SEEK_END)
        return file.read()


def _safetensors_size(path: Path) -> int:
    """Size in bytes according to the header of a safetensors file; at least the header's."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
    try:
        entries = json.loads(header)
        ends = [entry["data_offsets"][1] for key, entry in entries.items() if key != "__metadata__"]
        return 8 + length + max(map(int, ends), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return 8 + length
