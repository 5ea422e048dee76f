"""Writing a file so that a failure never costs what was there before.

A checkpoint, a result or a picture is written beside its final place and moved there in one step
once it is complete and on the disk. Whatever goes wrong before that (a full disk, an interrupt, a
bug in the writer) leaves the former file as it was and no half-written one. A process that is
killed while it writes cannot clean up: the next one that writes into the folder does so.

The module imports nothing of ours, and every other one may import it.
"""

import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed and leftovers stay
    fcntl = None  # type: ignore[assignment]

__all__ = ["WriteError", "clear_leftovers", "shorten_stem", "write_atomically"]

_MODES = ("wb", "w")
# The hidden files of `write_atomically`: a name's beginning, eight digits and the suffix.
_LEFTOVER = re.compile(r"\..{1,40}\.[0-9a-f]{8}\.tmp", re.DOTALL)

# What went wrong, and what to do about it. `{folder}` is the folder of the file.
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file grew past the largest size allowed here; raise `ulimit -f` or the file "
    "system's limit, or choose another folder",
    errno.EIO: "the disk reports an input/output error; check it or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "you have no permission to write in {folder}; change it or choose another folder",
    errno.EPERM: "the system does not permit writing in {folder}; choose another folder",
    errno.ENOTDIR: "a part of {folder} is a file and not a folder; choose another folder",
    errno.EEXIST: "a part of {folder} is a file and not a folder; choose another folder",
    errno.ENOENT: "{folder} cannot be made; choose another folder",
    errno.EISDIR: "it is a folder; give the name of a file",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    errno.ELOOP: "its symbolic links form a circle; choose another path",
    errno.EBUSY: "it is in use by the system; choose another path",
}
# Errors that can only come from the writing itself, whatever a library makes of them.
_WHILE_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class WriteError(OSError):
    """A file could not be written: one sentence with the path, the reason and the remedy.

    Attributes:
        errno: the system's number of the error.
        strerror: the sentence; `str()` gives it alone.
        filename: the path that was asked for.
    """

    def __str__(self) -> str:
        """Return the sentence, without the number and without the path a second time."""
        return str(self.strerror)


@contextmanager
def write_atomically(
    path: str | os.PathLike[str], mode: str = "wb", **open_kwargs: Any
) -> Iterator[IO[Any]]:
    """Open a file that appears at `path` only if the block ends without an error.

    The folders above `path` are made. The content goes to a hidden file in the same folder, is
    flushed to the disk, and replaces `path` in one step. If anything is raised, the hidden file is
    removed and `path` stays as it was. A symbolic link stays one: the file it points to is
    replaced. What is no regular file (`/dev/stdout`, a pipe) cannot be replaced and is written
    straight through.

    Args:
        path: the file to write.
        mode: "wb", or "w" for text (UTF-8 unless `encoding` says otherwise).
        **open_kwargs: further arguments of `open`, such as `newline`.

    Yields:
        The open file. It has a `write`, and no name to reopen it by.

    Raises:
        ValueError: another mode.
        WriteError: the file cannot be written; an OSError with the system's `errno`.
    """
    if mode not in _MODES:
        raise ValueError(f"mode is {mode!r}; write_atomically takes 'wb' or 'w'")
    if "b" not in mode:
        open_kwargs.setdefault("encoding", "utf-8")
    target = Path(os.path.realpath(path))
    outer = sys.exc_info()[1]
    # The random part comes from the system: the seeded generators are not ours to advance.
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.tmp")
    _clear_once(target.parent)
    try:
        straight = target.exists() and not target.is_file()
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        target.parent.mkdir(parents=True, exist_ok=True)
        if straight:
            file = open(target, mode, **open_kwargs)
        else:
            file = _open_locked(temporary, mode, **open_kwargs)
    except OSError as error:
        raise _write_error(path, target, error) from error
    try:
        with _lock_kept(file):  # until the name is final
            with file:
                yield file
                file.flush()
                if not straight:
                    os.fsync(file.fileno())
            if not straight:
                if target.exists():
                    os.chmod(temporary, target.stat().st_mode & 0o7777)
                os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = _cause_in_writing(error, outer, temporary)
        if cause is None:
            raise
        raise _write_error(path, target, cause) from error


def shorten_stem(stem: str, most: int) -> str:
    """Shorten what a file name begins with to a number of bytes.

    Args:
        stem: of any length.
        most: bytes that are left for it, at least 16; file systems allow a whole name 255.

    Returns:
        The stem itself where it fits; else its beginning and a digest of the whole, so that
        different stems stay different.
    """
    raw = os.fsencode(stem)
    if len(raw) <= most:
        return stem
    digest = hashlib.sha256(raw).hexdigest()[:8]
    # What is cut in the middle of a letter loses that letter.
    kept = raw[: most - 9].decode(errors="ignore")
    return f"{kept}-{digest}"


def clear_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the hidden files that killed processes were writing into a folder.

    Files that a live process is writing stay: it holds a lock on them, which ends with the process.
    `write_atomically` calls this for each folder once in a process; a program that may find new
    leftovers later calls it again.

    Args:
        folder: its subfolders are not looked at; it need not exist.
    """
    if fcntl is None:
        return
    try:
        names = [name for name in os.listdir(folder) if _LEFTOVER.fullmatch(name)]
    except OSError:  # no folder, or none that may be listed: writing says what is wrong
        return
    for path in (Path(folder) / name for name in names):
        with suppress(OSError):  # another process removes it too, or still writes it
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


@cache
def _clear_once(folder: Path) -> None:
    clear_leftovers(folder)


def _open_locked(path: Path, mode: str, **open_kwargs: Any) -> IO[Any]:
    """Open a new file and lock it, so that other processes see that it is being written."""
    while True:
        file = open(path, mode, **open_kwargs)
        if fcntl is None:
            return file
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks, where leftovers stay
            return file
        if path.exists():
            return file
        file.close()  # another process has taken it for a leftover before it was locked


@contextmanager
def _lock_kept(file: IO[Any]) -> Iterator[None]:
    """Keep the lock of an open file after the file is closed, until the block ends."""
    if fcntl is None:
        yield
        return
    descriptor = os.dup(file.fileno())
    try:
        yield
    finally:
        os.close(descriptor)


def _cause_in_writing(
    error: BaseException, outer: BaseException | None, temporary: Path
) -> OSError | None:
    """Return the OSError of our own writing behind `error`, or None where it is someone else's.

    The block may also read other files, and their errors carry another name. `torch.save` turns a
    failed `write` into a RuntimeError about positions in the archive; the OSError is then its
    context, unless that is the error (`outer`) that was being handled around the block.
    """
    if isinstance(error, WriteError):
        return None
    if isinstance(error, OSError):
        return error if error.filename in (None, str(temporary)) and error.errno else None
    context = error.__context__
    if isinstance(context, OSError) and context is not outer and context.errno in _WHILE_WRITING:
        return context
    return None


def _write_error(path: str | os.PathLike[str], target: Path, cause: OSError) -> WriteError:
    number = cause.errno or errno.EIO
    default = f"the system says {os.strerror(number)!r}; choose another folder"
    reason = _REASONS.get(number, default).format(folder=target.parent)
    return WriteError(number, f"cannot write {os.fspath(path)}: {reason}", os.fspath(path))
