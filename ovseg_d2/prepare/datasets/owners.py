"""The archives that the owners of the benchmarks publish, from the table `owners.tsv`."""

import csv
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import resources

from ...data.datasets.benchmarks import BENCHMARKS, Benchmark

__all__ = [
    "OWNER_FILES",
    "OwnerFile",
    "benchmark",
    "command_of",
    "datasets_of",
    "owner_file",
    "where_to_get",
]


@dataclass(frozen=True)
class OwnerFile:
    """A file that the owner of a dataset publishes.

    Args:
        file: its name; "*" stands for numbers.
        command: the command that reads it, without ``prepare_``.
        holds: "images", "labels" or "splits", lists of images.
        datasets: registered names that need it.
        title: of the owner's page.
        page: the owner's page.
    """

    file: str
    command: str
    holds: str
    datasets: tuple[str, ...]
    title: str
    page: str

    def __str__(self) -> str:
        """The file and its owner's page, as a clause of a sentence."""
        return f"{self.file} ({self.title}, {self.page})"


def _read_table() -> tuple[OwnerFile, ...]:
    text = (resources.files(__package__) / "owners.tsv").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        OwnerFile(**{**row, "datasets": tuple(row["datasets"].split())})
        for row in csv.DictReader(lines, delimiter="\t")
    )


OWNER_FILES: tuple[OwnerFile, ...] = _read_table()


def benchmark(dataset: str) -> Benchmark:
    """The entry of `BENCHMARKS` for a registered name."""
    return next(entry for entry in BENCHMARKS if entry.name == dataset)


def owner_file(name: str) -> OwnerFile:
    """The first entry of `OWNER_FILES` for a file name."""
    return next(entry for entry in OWNER_FILES if fnmatch(name, entry.file))


def datasets_of(command: str) -> tuple[str, ...]:
    """Registered datasets that a command makes, in the order of `OWNER_FILES`."""
    files = [entry for entry in OWNER_FILES if entry.command == command]
    return tuple(dict.fromkeys(name for entry in files for name in entry.datasets))


def command_of(dataset: str) -> str:
    """Command that makes a dataset, such as ``datasets/prepare_voc.py``."""
    entry = next(entry for entry in OWNER_FILES if dataset in entry.datasets)
    return f"datasets/prepare_{entry.command}.py"


def where_to_get(dataset: str, holds: str | None = None) -> str:
    """Owners' files that a registered benchmark is made from, as a clause of a sentence.

    Args:
        dataset: a registered name.
        holds: "images", "labels" or "splits"; None takes all of them.
    """
    files: dict[str, list[str]] = {}
    for entry in OWNER_FILES:
        if dataset in entry.datasets and holds in (None, entry.holds):
            files.setdefault(entry.holds, []).append(str(entry))
    return " and ".join(dict.fromkeys(" or ".join(entries) for entries in files.values()))
