"""The tables `rows.tsv` (how a row is measured) and `published.tsv` (its published numbers)."""

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PaperRow", "Published", "choose_rows", "read_published", "read_rows", "read_table"]

FOLDER = Path(__file__).parent
# Of the table of corruptions of [maskclip]: MaskCLIP, generate.py of configs/maskclip/corrupt.
_CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_blur",
    "defocus_blur",
    "spatter",
    "jpeg_compression",
)
_LEVELS = range(1, 6)


@dataclass(frozen=True)
class PaperRow:
    """A row of a paper's table, and how it is measured.

    Attributes:
        method: of the command.
        name: of the row.
        config: a file of configs/paper, without its suffix. ``{dataset}`` stands for the short name
            of a dataset, where each dataset has its own file.
        weights: keys of the config, each with a released file, such as
            ``MODEL.WEIGHTS=pixelclip_vit_base.pth``, or with ``train:`` and the config of a
            training whose weights were not released; "-" if it is the row's own training.
        opts: further config keys and values.
    """

    method: str
    name: str
    config: str
    weights: str
    opts: tuple[str, ...]

    def config_file(self, dataset: str) -> str:
        """The config that measures the row on a dataset, by its short name."""
        return f"configs/paper/{self.config.format(dataset=dataset)}.yaml"

    def weight_files(self, dataset: str) -> list[tuple[str, str]]:
        """Keys of the config, each with a released file or with "train:" and a config."""
        if self.weights == "-":
            return [("MODEL.WEIGHTS", f"train:{self.config.format(dataset=dataset)}")]
        words = self.weights.format(dataset=dataset).split()
        return [(key, source) for key, _, source in (word.partition("=") for word in words)]


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        method: of its row.
        row: name of its row.
        dataset: as registered.
        metric: its name in ``results.json``.
        value: in percent, as printed; "-" if it was published where it could not be read.
        source: paper and table, or repository, file and line.
    """

    method: str
    row: str
    dataset: str
    metric: str
    value: str
    source: str

    @property
    def short(self) -> str:
        """The dataset's name in commands and headings: "voc20" of ``ovseg_voc20_val``."""
        return self.dataset.removeprefix("ovseg_").rpartition("_")[0]


def read_table(name: str) -> list[dict[str, str]]:
    """Read a table beside this module: columns by tabs, "#" before comments.

    A row with ``{corruption}`` and ``{level}`` stands for all of them.
    """
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    rows = csv.DictReader(
        (line for line in lines if not line.startswith("#")),
        delimiter="\t",
        quoting=csv.QUOTE_NONE,
        strict=True,
    )
    return [each for row in rows for each in _corrupted(row)]


def _corrupted(row: dict[str, str]) -> list[dict[str, str]]:
    """The rows that one with ``{corruption}`` stands for; another row alone."""
    if not any("{corruption}" in value for value in row.values()):
        return [row]
    return [
        {k: v.replace("{corruption}", name).replace("{level}", str(level)) for k, v in row.items()}
        for name in _CORRUPTIONS
        for level in _LEVELS
    ]


def read_rows(method: str | None = None) -> list[PaperRow]:
    """The rows of a method in the order of the paper; None reads those of all."""
    rows = [
        PaperRow(**{**row, "opts": () if row["opts"] == "-" else tuple(shlex.split(row["opts"]))})
        for row in read_table("rows.tsv")
    ]
    return [row for row in rows if method in (None, row.method)]


def read_published(method: str | None = None) -> list[Published]:
    """The published numbers of a method; None reads those of all."""
    numbers = [Published(**row) for row in read_table("published.tsv")]
    return [number for number in numbers if method in (None, number.method)]


def choose_rows(
    method: str, rows: Sequence[str] = (), datasets: Sequence[str] = ()
) -> list[tuple[PaperRow, list[Published]]]:
    """The rows of a method's table with their published numbers.

    Args:
        method: of the command.
        rows: names of rows, or parts of them; none takes all.
        datasets: names as registered, or short ones; none takes all.

    Raises:
        ValueError: the table has no such row or dataset.
    """
    numbers, table = read_published(method), read_rows(method)
    known = {name: number.dataset for number in numbers for name in (number.short, number.dataset)}
    unknown = [name for name in datasets if name not in known]
    if unknown:
        short = list(dict.fromkeys(number.short for number in numbers))
        raise ValueError(f"the table of {method} has no dataset {unknown[0]!r}; it has {short}")
    wanted = {known[name] for name in datasets or known}
    names = [row.name for row in table]
    chosen = [
        row
        for row in table
        if not rows
        or any(part == row.name or (part not in names and part in row.name) for part in rows)
    ]
    if not chosen:
        raise ValueError(f"no row's name contains any of {list(rows)}; the rows are {names}")
    return [
        (row, [n for n in numbers if n.row == row.name and n.dataset in wanted]) for row in chosen
    ]
