"""Writing files so that a failure never damages the former file.

A file is written beside its final place and moved there in one step once it is complete and on the
disk. A failure before that (a full disk, an interrupt, a bug in the writer) leaves the former file
unchanged and no half-written one. The leftovers of a killed process are removed by the next process
that writes into the folder.

The module imports nothing of this package, and every other module may import it.
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

__all__ = [
    "WriteError",
    "check_output_dir",
    "clear_leftovers",
    "expand_user",
    "shorten_stem",
    "write_atomically",
]

_MODES = ("wb", "w")
# Hidden files of `write_atomically`: the beginning of a name, eight digits and the suffix.
_LEFTOVER = re.compile(r"\..{1,40}\.[0-9a-f]{8}\.tmp", re.DOTALL)

# Reason and remedy of each error number. `{folder}` is the folder of the file.
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
# Errors that can only come from the writing itself, even if a library raises another type.
_WHILE_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class WriteError(OSError):
    """A file could not be written: one sentence with the path, the reason and the remedy.

    Attributes:
        errno: the system's number of the error.
        strerror: the sentence.
        filename: the path of the file to write.
    """

    def __str__(self) -> str:
        """Return the sentence alone."""
        return str(self.strerror)


def expand_user(path: str | os.PathLike[str]) -> Path:
    """Replace a leading ``~`` or ``~name`` by that user's home folder.

    A name that no user has is kept, so that the path is reported as missing; pathlib's own
    `expanduser` raises a RuntimeError for it.

    Raises:
        ValueError: the path holds a zero byte, which no file's name can.
    """
    text = os.fspath(path)
    if "\0" in text:
        raise ValueError(f"{text!r} is no name of a file: it holds a zero byte; check the path")
    return Path(os.path.expanduser(text))


@contextmanager
def write_atomically(
    path: str | os.PathLike[str], mode: str = "wb", **open_kwargs: Any
) -> Iterator[IO[Any]]:
    """Open a file that appears at `path` only if the block ends without an error.

    The folders above `path` are made. The content goes to a hidden file in the same folder, is
    flushed to the disk, and replaces `path` in one step. If anything is raised, the hidden file is
    removed and `path` is unchanged. Of a symbolic link, the file it points to is replaced. A path
    that is not a regular file (`/dev/stdout`, a pipe) is written directly.

    Args:
        path: the file to write.
        mode: "wb", or "w" for text (UTF-8 unless `encoding` is given).
        **open_kwargs: further arguments of `open`, such as `newline`.

    Yields:
        The open file; it cannot be reopened by name.

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
    # `secrets` leaves the seeded generators unchanged.
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
    """Shorten the beginning of a file name to a number of bytes.

    Args:
        stem: of any length.
        most: bytes available, at least 16; file systems allow 255 for a whole name.

    Returns:
        The stem itself if it fits; else its beginning and a digest of the whole, so that different
        stems stay different.
    """
    raw = os.fsencode(stem)
    if len(raw) <= most:
        return stem
    digest = hashlib.sha256(raw).hexdigest()[:8]
    # A letter that is cut in the middle is dropped.
    kept = raw[: most - 9].decode(errors="ignore")
    return f"{kept}-{digest}"


def clear_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the hidden files that killed processes have left in a folder.

    A file that a live process is writing stays: the process holds a lock on it.
    `write_atomically` calls this once per folder and process; a program that may meet new leftovers
    later calls it again.

    Args:
        folder: without its subfolders; it need not exist.
    """
    if fcntl is None:
        return
    try:
        names = [name for name in os.listdir(folder) if _LEFTOVER.fullmatch(name)]
    except OSError:  # no folder, or not allowed to list it: writing will report that
        return
    for path in (Path(folder) / name for name in names):
        with suppress(OSError):  # another process removes it too, or is still writing it
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def check_output_dir(folder: str | os.PathLike[str]) -> None:
    """Make a folder, test that it can be written, and remove the leftovers of killed processes.

    Raises:
        WriteError: it cannot be made or written; the sentence names it.
    """
    clear_leftovers(folder)
    probe = Path(folder) / f".writable.{os.getpid()}"  # every process of a job tests
    with write_atomically(probe) as file:
        file.write(b"")
    probe.unlink(missing_ok=True)  # a process with this id on another machine may have removed it


@cache
def _clear_once(folder: Path) -> None:
    clear_leftovers(folder)


def _open_locked(path: Path, mode: str, **open_kwargs: Any) -> IO[Any]:
    """Open a new file and lock it, which shows other processes that it is being written."""
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
        file.close()  # another process removed it as a leftover before it was locked


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
    """Return the OSError of this file's writing behind `error`; None if it has another cause.

    The block may also read other files, whose errors carry another name. `torch.save` turns a
    failed `write` into a RuntimeError about positions in the archive, with the OSError as its
    context; a context that is `outer`, the error handled around the block, does not count.
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
