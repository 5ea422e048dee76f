"""Reading JSON and lines of JSON from untrusted files.

Only regular files of bounded size are read. Bytes that are not UTF-8, endless nesting and endless
numbers are a `ValueError`; in a file of lines only the bad line is lost.

The module imports nothing of this package, and every other module may import it.
"""

import errno
import json
import os
import reprlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

__all__ = [
    "LeftOut",
    "check_name",
    "check_text",
    "describe_problem",
    "open_regular",
    "printable",
    "read_json",
    "read_json_lines",
    "shorten",
]

_MAX_LINE = 2**26  # bytes
_MAX_NAME = 1000  # letters of a name in a sentence
_SHOWN = 3
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 60
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class _NotRegular(OSError):
    """The path is not a regular file; `strerror` names its kind."""


@dataclass
class LeftOut:
    """Lines of a file that are left out.

    Attributes:
        count: their number.
        reasons: of the first three, such as "line 7 is cut off or no JSON (...)".
    """

    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, number: int, reason: str) -> None:
        """Count a line.

        Args:
            number: of the line, from 1.
            reason: the rest of a sentence that begins "line 7 ".
        """
        self.count += 1
        if len(self.reasons) < _SHOWN:
            self.reasons.append(f"line {number} {reason}")

    def __str__(self) -> str:
        """The number of lines left out, and the first reasons."""
        lines = "1 line is" if self.count == 1 else f"{self.count} lines are"
        more = "; ..." if self.count > len(self.reasons) else ""
        return f"{lines} left out: {'; '.join(self.reasons)}{more}"


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for reading; a pipe is refused without waiting for it.

    Raises:
        OSError: the file does not exist, is a folder, pipe, device or socket, or the system
            refuses; see `describe_problem`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except ValueError as error:  # a NUL, or a character that no file name has
        raise OSError(errno.EINVAL, "no name of a file", os.fspath(path)) from error
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if kind != stat.S_IFREG:
            what = _KINDS.get(kind, "no regular file")
            raise _NotRegular(errno.EINVAL, what, os.fspath(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def describe_problem(error: OSError) -> str:
    """The problem with a file, as a clause of a sentence."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, _NotRegular):
        return f"it is {error.strerror}, and only regular files are read"
    return f"the system says {error.strerror!r}"


def printable(path: str | os.PathLike[str]) -> str:
    """A file's name in one line that every console can print, cut to 1000 characters.

    Line ends, control characters and bytes that are not UTF-8 become escapes.
    """
    text = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in os.fspath(path)
    )
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}..."


def read_json(path: str | os.PathLike[str], *, max_bytes: int) -> Any:
    """Read a JSON file.

    Args:
        path: a regular file.
        max_bytes: the largest size allowed.

    Raises:
        OSError: the file cannot be opened or read; see `describe_problem`.
        ValueError: the file is larger, or is not JSON; the text is the reason.
    """
    with open_regular(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it has more than {max_bytes >> 20} MiB")
    if not content.strip():
        raise ValueError("it is empty")
    return _parse(content)


def read_json_lines(
    path: str | os.PathLike[str], left_out: LeftOut
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a file with one JSON object in each line.

    Args:
        path: a regular file; empty lines are skipped.
        left_out: counts the lines that are longer than 64 MiB or not an object. Callers add lines
            whose object they cannot use.

    Yields:
        The number of a line, from 1, and its object.

    Raises:
        OSError: the file cannot be opened or read; see `describe_problem`.
    """
    number = 0
    with open_regular(path) as file:
        while line := file.readline(_MAX_LINE):
            number += 1
            if len(line) == _MAX_LINE and not line.endswith(b"\n"):
                left_out.add(number, f"has more than {_MAX_LINE >> 20} MiB")
                while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                continue
            if not line.strip():
                continue
            try:
                entry = _parse(line)
            except ValueError as error:
                left_out.add(number, f"is cut off or no JSON ({error})")
                continue
            if isinstance(entry, dict):
                yield number, entry
            else:
                left_out.add(number, f"is a {type(entry).__name__} and no JSON object")


def shorten(value: object) -> str:
    """`repr` of a value, cut to about 60 characters at any depth and length."""
    text = _REPR.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error


def check_text(text: object, what: str, *, blank: bool = False) -> str:
    """Check a text for being encodable, and return it.

    Args:
        text: a JSON value.
        what: its name in the error.
        blank: whether only spaces are allowed.

    Raises:
        ValueError: another value; the text is the rest of a sentence that begins "line 7 ".
    """
    if not isinstance(text, str) or not (blank or text.strip()):
        raise ValueError(f"has the {what} {shorten(text)}, which is no text")
    if not _can_be(text, "utf-8", "strict"):
        raise ValueError(f"has the {what} {shorten(text)}, which is no Unicode text")
    return text


def check_name(name: object, what: str) -> str:
    """Check a text for being a possible file name, and return it.

    Args and errors are those of `check_text`.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"has the {what} {shorten(name)}, which is no text")
    if "\0" in name or not _can_be(name, "utf-8", "surrogateescape"):
        raise ValueError(f"has the {what} {shorten(name)}, which is no name of a file")
    return name


def _can_be(text: str, encoding: str, errors: str) -> bool:
    try:
        text.encode(encoding, errors)
    except UnicodeEncodeError:
        return False
    return True
