"""The owners' lists of names, and JSON files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...json_files import describe_problem, open_regular, printable, read_json, shorten
from .archives import is_safe_name

__all__ = ["read_names", "read_owner_json", "some_names"]

_MOST_LIST = 2**26  # bytes of a list of names
_SHOWN = 3


def read_names(path: Path) -> list[str]:
    """Names of images in a list file: the first word of each line.

    Raises:
        ValueError: the file is no such list, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            text = file.read(_MOST_LIST).decode("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {printable(path)}: {describe_problem(error)}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(path)} is no list of names; unpack it again") from error
    names = [line.split()[0] for line in text.splitlines() if line.strip()]
    unsafe = [name for name in names if not is_safe_name(name)]
    if unsafe or not names:
        problem = (
            f"holds {shorten(unsafe[0])}, which is no name of an image" if unsafe else "is empty"
        )
        raise ValueError(f"{printable(path)} {problem}; unpack it again")
    return names


def read_owner_json(path: Path, *, max_bytes: int) -> Any:
    """Read a JSON file that an owner publishes.

    Raises:
        ValueError: the file cannot be read, or is larger or no JSON; the sentence names it.
    """
    try:
        return read_json(path, max_bytes=max_bytes)
    except (OSError, ValueError) as error:
        reason = describe_problem(error) if isinstance(error, OSError) else error
        raise ValueError(f"cannot read {printable(path)}: {reason}; get it again") from error


def some_names(names: Sequence[str]) -> str:
    """The first three names, for a sentence."""
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(printable(name) for name in names[:_SHOWN]) + more
