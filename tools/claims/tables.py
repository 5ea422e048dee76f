"""Tables of results: jobs are their rows, numbers their columns and curves."""

import statistics
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tabulate import tabulate

from .jobs import Job

__all__ = ["Claim", "Panels", "Point", "format_table"]

Point = tuple[float, float]
Panels = Mapping[str, Mapping[str, Sequence[Point]]]


@dataclass(frozen=True)
class Claim:
    """A table: its jobs and its columns.

    Attributes:
        title: of the table.
        jobs: in the order of the rows.
        columns: header -> key of a number in ``results.json``.
        curves: rows and numbers of all jobs -> the panels of a plot, see
            :func:`~ovseg_d2.viz.plot_curves`; None draws none.
        x_label: of the plot, with its unit.
        expand: row and numbers of a job -> row -> numbers, where a job has several rows; None keeps
            one row.
    """

    title: str
    jobs: tuple[Job, ...]
    columns: Mapping[str, str]
    curves: Callable[[Sequence[str], Sequence[Mapping[str, Any]]], Panels] | None = None
    x_label: str = ""
    expand: Callable[[str, Mapping[str, Any]], Mapping[str, Mapping[str, Any]]] | None = None

    def narrowed(self, rows: Sequence[str], opts: Sequence[str] = ()) -> "Claim":
        """Some of the jobs, with further keys and values.

        Args:
            rows: names of rows, or parts of them; none leaves all rows.
            opts: keys and values of the config, for all jobs.

        Raises:
            ValueError: no row has such a name.
        """
        names = list(dict.fromkeys(job.row for job in self.jobs))
        chosen = {
            name
            for name in names
            for part in rows
            if (name == part if part in names else part in name)
        }
        if rows and not chosen:
            raise ValueError(f"no row's name contains any of {list(rows)}; the rows are {names}")
        jobs = [job for job in self.jobs if not rows or job.row in chosen]
        return replace(self, jobs=tuple(job.with_opts(opts) for job in jobs))

    def panels(self, numbers: Sequence[Mapping[str, Any]]) -> Panels:
        """The panels of the plot from the numbers of all jobs; {} for a claim without curves."""
        return self.curves([job.row for job in self.jobs], numbers) if self.curves else {}


def format_table(claim: Claim, numbers: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table with the mean of each row, and the standard deviation of several seeds.

    Args:
        claim: rows and columns.
        numbers: of each of its jobs.
    """
    rows: OrderedDict[str, list[Mapping[str, Any]]] = OrderedDict()
    for job, result in zip(claim.jobs, numbers, strict=True):
        expanded = claim.expand(job.row, result) if claim.expand else {job.row: result}
        for row, row_numbers in expanded.items():
            rows.setdefault(row, []).append(row_numbers)
    body = [
        [row, *(_cell([result.get(key) for result in seeds]) for key in claim.columns.values())]
        for row, seeds in rows.items()
    ]
    return tabulate(body, headers=["", *claim.columns], tablefmt="github", disable_numparse=True)


def _cell(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    mean = f"{statistics.mean(present):.1f}"
    return mean if len(present) == 1 else f"{mean} ± {statistics.stdev(present):.1f}"
