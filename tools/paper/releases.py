"""The released weight files of docs/model_zoo.md, and the check of a file against its release."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ovseg_d2.files import write_atomically
from ovseg_d2.json_files import read_json

from .tables import read_table

__all__ = ["Digests", "Release", "read_releases"]

_CHUNK = 2**22  # bytes read at once
_MAX_FILE = 2**24  # bytes of the file of digests
_NAMES = ("sha256", "md5")


@dataclass(frozen=True)
class Release:
    """A released weight file.

    Attributes:
        file: its name.
        group: its section of docs/model_zoo.md.
        content: what it holds.
        sha256: of the file; "" if it is not known.
        md5: of the file, or its first digits as its authors give them; "" if it is not known.
        page: where it is found.
        licence: of the weights.
    """

    file: str
    group: str
    content: str
    sha256: str
    md5: str
    page: str
    licence: str

    def problem(self, digests: dict[str, str]) -> str:
        """Why a file of this name is not the release, from its digests; "" if it may be."""
        for name in _NAMES:
            known = getattr(self, name)
            if known and not digests[name].startswith(known):
                return (
                    f"its {name} is {digests[name]}, and that of the release begins with "
                    f"{known[:12]}; download it again from {self.page}"
                )
        return ""


def read_releases() -> dict[str, Release]:
    """All releases by the name of their file."""
    releases = [
        Release(**{name: "" if value == "-" else value for name, value in row.items()})
        for row in read_table("releases.tsv")
    ]
    return {release.file: release for release in releases}


class Digests:
    """SHA-256 and MD5 of files, kept in a file so that large ones are read once.

    Args:
        path: of the file that keeps them. A file counts as unchanged if its size and time of
            modification are.
    """

    def __init__(self, path: Path) -> None:
        """Read the digests that are kept; a damaged file counts as none."""
        self._path = path
        try:
            kept = read_json(path, max_bytes=_MAX_FILE) if path.is_file() else {}
        except ValueError:
            kept = {}
        self._kept = kept if isinstance(kept, dict) else {}

    def of(self, path: Path) -> dict[str, str]:
        """Digests of a file by their names, in hexadecimal digits.

        Raises:
            OSError: the file cannot be read.
        """
        path = path.resolve()
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = self._kept.get(str(path))
        if isinstance(entry, dict) and entry.get("stamp") == stamp and {*_NAMES} <= entry.keys():
            return {name: str(entry[name]) for name in _NAMES}
        hashes = {name: hashlib.new(name, usedforsecurity=False) for name in _NAMES}
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                for each in hashes.values():
                    each.update(chunk)
        digests = {name: each.hexdigest() for name, each in hashes.items()}
        self._kept[str(path)] = {"stamp": stamp, **digests}
        with write_atomically(self._path, "w") as file:
            json.dump(self._kept, file, indent=2)
        return digests
