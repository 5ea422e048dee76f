"""Reading a weight file of any format."""

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

from safetensors import SafetensorError
from safetensors.torch import load_file

from .archives import read_archive
from .errors import DOWNLOAD_AGAIN, TRUST, UnreadableError, WeightFileError
from .identify import identify
from .legacy import foreign_names, read_pickle

__all__ = ["check_plain_pickle", "read_weight_file"]

_Result = TypeVar("_Result")

_HEAD = 4096  # bytes that tell what a file is
_END_OF_ZIP = b"PK\x05\x06"
_LONGEST_TAIL = 2**16 + 22  # bytes: the end of a zip archive and its comment
_LONGEST_HEADER = 100_000_000  # bytes, of safetensors
# What unpickling, unzipping and building tensors raise on damaged bytes.
_DAMAGE = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, SafetensorError),
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, AssertionError),
    *(RuntimeError, OverflowError, MemoryError, OSError),
)


def check_plain_pickle(path: str | os.PathLike[str]) -> None:
    """Refuse a pickle that Python's own unpickler would import or call anything for, but arrays.

    Raises:
        WeightFileError: it is one, or no pickle.
    """
    with _sentences(Path(path)):
        names = _with_pickle(Path(path), foreign_names)
        if names:
            raise UnreadableError(f"it holds code: loading it would import {names[0][:100]}", TRUST)


def read_weight_file(path: str | os.PathLike[str]) -> Any:
    """Read what a weight file holds; nothing that is in it is run.

    The format is told by the content, whatever the name: safetensors, archives and old files of
    `torch.save`, TorchScript (whose state dict is taken out without running it), and pickles of
    arrays, as detectron2 and MaskFormer publish them. Types of tensors and arrays stay as they are,
    all on the CPU. Objects of other classes are placeholders without behaviour.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        WeightFileError: it is something else, damaged, or holds code.
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
        return _read(path, head)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Name the file in errors about its content."""
    try:
        yield
    except UnreadableError as error:
        raise WeightFileError(str(path), error.problem, error.remedy) from error
    except _DAMAGE as error:
        raise WeightFileError(str(path), _describe_damage(path), DOWNLOAD_AGAIN) from error


def _with_pickle(path: Path, read: Callable[[mmap.mmap], _Result]) -> _Result:
    """Read a pickle from memory that the file is mapped to."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return read(data)


def _read(path: Path, head: bytes) -> Any:
    if head.startswith(b"PK\x03\x04"):
        return read_archive(path)
    if _is_safetensors(head) or (path.suffix == ".safetensors" and head[8:9] == b"{"):
        return load_file(path)
    # The first is of protocols from 2 on; older ones are texts.
    if head.startswith(b"\x80") or (path.suffix == ".pkl" and head[:1] in b"(}]c" and head):
        return _with_pickle(path, read_pickle)
    raise UnreadableError(*identify(head))


def _is_safetensors(head: bytes) -> bool:
    size = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= size <= _LONGEST_HEADER


def _describe_damage(path: Path) -> str:
    """Say more than "damaged" where the file's own directory tells its size."""
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
    """Bytes that the header of a safetensors file promises; at least those of the header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
    try:
        entries = json.loads(header)
        ends = [each["data_offsets"][1] for key, each in entries.items() if key != "__metadata__"]
        return 8 + length + max(map(int, ends), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return 8 + length
