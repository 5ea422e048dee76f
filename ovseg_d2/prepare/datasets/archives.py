"""Listing and unpacking zip and tar archives without trusting them.

A member is unpacked only if it is a regular file whose name stays below its folder; links, devices
and encrypted members are refused. Of a member no more bytes are read than its archive's directory
states and `MOST_BYTES` allows.
"""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from ...files import WriteError, write_atomically
from ...json_files import open_regular, printable

__all__ = [
    "MOST_BYTES",
    "ArchiveError",
    "Member",
    "is_safe_name",
    "is_seekable",
    "list_members",
    "unpack_member",
    "unpack_stream",
]

MOST_BYTES = 2**30  # of one unpacked file
_BLOCK = 2**20
_LONGEST = 240  # bytes of a file's name
# Files that begin like this are compressed as a whole, and can only be read from their start.
_STREAMED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    UnicodeDecodeError,
)


class ArchiveError(ValueError):
    """An archive cannot be used: one sentence with the file, the problem and the remedy."""


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Args:
        name: its path with "/", without a leading "./".
        size: of the unpacked file, in bytes.
        full_name: as the archive spells it.
        offset: position of the content in a tar that is not compressed; None elsewhere.
    """

    name: str
    size: int
    full_name: str
    offset: int | None = None


def is_safe_name(name: object) -> bool:
    """Whether a value is a path with "/" that stays below its folder on every system."""
    if not isinstance(name, str) or any(letter in name for letter in "\0\\:"):
        return False
    parts = name.split("/")
    long = any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST for part in parts)
    return not long and not any(part in ("", ".", "..") for part in parts)


def is_seekable(path: Path) -> bool:
    """Whether single members can be read without reading all members before them."""
    with open_regular(path) as file:
        return not file.read(6).startswith(_STREAMED)


def list_members(path: Path, wanted: Callable[[str], bool]) -> list[Member]:
    """List members of an archive, without unpacking.

    Args:
        path: a zip or tar.
        wanted: whether a name matters; the others are not checked.

    Raises:
        ArchiveError: the archive is damaged, or a wanted member is not safe.
        OSError: the archive cannot be opened.
    """
    with _readable(path):
        if _is_zip(path):
            return _list_zip(path, wanted)
        with tarfile.open(path) as archive:
            return [
                Member(name, info.size, info.name, info.offset_data)
                for info in archive
                if wanted(name := _plain_name(info.name)) and _check_tar(path, info)
            ]


def unpack_member(path: Path, member: Member, target: Path) -> None:
    """Unpack a member of a seekable archive to a whole file.

    Args:
        path: a zip, or a tar that is not compressed.
        member: from `list_members`.
        target: the file to write.

    Raises:
        ArchiveError: the archive is damaged.
        OSError: the archive cannot be opened, or the file cannot be written (`WriteError`).
    """
    with _readable(path):
        if member.offset is None:
            archive = _open_zip(path, os.path.getmtime(path), os.getpid())
            with archive.open(member.full_name) as file:
                _copy(path, file, member.size, target)
            return
        with open_regular(path) as file:
            file.seek(member.offset)
            _copy(path, file, member.size, target)


def unpack_stream(path: Path, targets: Mapping[str, Path]) -> Iterator[str]:
    """Unpack members of a tar that is compressed as a whole, in its own order.

    Args:
        path: a tar.
        targets: name of a member -> the file to write; members that the archive lacks are skipped.

    Yields:
        Names of members, each once its file is written.

    Raises:
        ArchiveError: the archive is damaged, or a wanted member is not safe.
        OSError: the archive cannot be opened, or a file cannot be written (`WriteError`).
    """
    with _readable(path), open_regular(path) as raw, tarfile.open(fileobj=raw, mode="r|*") as tar:
        for info in tar:
            name = _plain_name(info.name)
            if name in targets and _check_tar(path, info):
                file = tar.extractfile(info)
                assert file is not None  # a regular file
                _copy(path, file, info.size, targets[name])
                yield name


@lru_cache(maxsize=1)
def _open_zip(path: Path, changed: float, process: int) -> zipfile.ZipFile:
    """An open zip for many members; a forked process opens its own."""
    return zipfile.ZipFile(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn errors of a damaged archive into a sentence."""
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and (error.filename or isinstance(error, WriteError)):
            raise  # of a file that cannot be opened or written
        reason = str(error).partition("\n")[0][:200]
        raise ArchiveError(
            f"{printable(path)} is truncated, damaged or no archive ({reason}); download it again"
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile: unknown method, encrypted
        raise ArchiveError(
            f"{printable(path)} cannot be unpacked ({error}); unpack it with another program"
        ) from error


def _is_zip(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(2) == b"PK"


def _plain_name(name: str) -> str:
    return name.removeprefix("./")


def _list_zip(path: Path, wanted: Callable[[str], bool]) -> list[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(info.compress_size for info in entries) > os.path.getsize(path):
            raise ArchiveError(
                f"{printable(path)} is damaged: its members overlap; download it again"
            )
        return [
            Member(name, info.file_size, info.filename)
            for info in entries
            if wanted(name := _plain_name(info.filename))
            and not name.endswith("/")
            and _check_zip(path, info)
        ]


def _check_zip(path: Path, info: zipfile.ZipInfo) -> bool:
    mode = info.external_attr >> 16
    # Archives of Windows have no mode.
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _unsafe(path, info.filename, "is a link or a device")
    _check_member(path, info.filename, info.file_size)
    return True


def _check_tar(path: Path, info: tarfile.TarInfo) -> bool:
    if info.isdir():
        return False
    if not info.isreg() or info.issparse():
        raise _unsafe(path, info.name, "is a link or a device")
    _check_member(path, info.name, info.size)
    return True


def _check_member(path: Path, name: str, size: int) -> None:
    if not is_safe_name(_plain_name(name)):
        raise _unsafe(path, name, "has an unsafe name")
    if size > MOST_BYTES:
        raise _unsafe(path, name, f"has {size} bytes")


def _unsafe(path: Path, name: str, problem: str) -> ArchiveError:
    return ArchiveError(
        f"{printable(path)}: its member {printable(name)!r} {problem}, which no file of a dataset "
        "does; download the archive again from its owner"
    )


def _copy(path: Path, file: IO[bytes], size: int, target: Path) -> None:
    left = size
    with write_atomically(target) as output:
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            output.write(block)
            left -= len(block)
        if left:
            raise ArchiveError(
                f"{printable(path)} is truncated: {left} bytes of {target.name} are missing; "
                "download it again"
            )
        if isinstance(file, zipfile.ZipExtFile):
            file.read(1)  # at the end the checksum is compared
