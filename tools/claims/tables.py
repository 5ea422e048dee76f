"""Tables of results: which jobs are their rows, which numbers their columns and curves."""

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
    """A table: its jobs, and the numbers that are its columns.

    Attributes:
        title: what it shows.
        jobs: in the order of its rows.
        columns: header -> key of the numbers in ``results.json``.
        curves: rows and numbers of all jobs -> the panels of a plot, see
            :func:`~ovseg_d2.viz.plot_curves`; None draws none.
        x_label: what x is, with its unit.
        expand: a job's row and numbers -> those of several rows, by name, in the place of its own;
            None leaves it at one row.
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
        wanted = {
            name
            for name in names
            for part in rows
            if (name == part if part in names else part in name)
        }
        if rows and not wanted:
            raise ValueError(f"no row's name holds any of {list(rows)}; the rows are {names}")
        jobs = [job for job in self.jobs if not rows or job.row in wanted]
        return replace(self, jobs=tuple(job.with_opts(opts) for job in jobs))

    def panels(self, numbers: Sequence[Mapping[str, Any]]) -> Panels:
        """What is drawn of the numbers of each job; nothing where the claim has no curves."""
        return self.curves([job.row for job in self.jobs], numbers) if self.curves else {}


def format_table(claim: Claim, numbers: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: mean, and spread where there are several seeds, of each row.

    Args:
        claim: rows and columns.
        numbers: of each of its jobs.
    """
    rows: OrderedDict[str, list[Mapping[str, Any]]] = OrderedDict()
    for job, found in zip(claim.jobs, numbers, strict=True):
        for row, shown in (
            claim.expand(job.row, found) if claim.expand else {job.row: found}
        ).items():
            rows.setdefault(row, []).append(shown)
    body = [
        [row, *(_cell([found.get(key) for found in group]) for key in claim.columns.values())]
        for row, group in rows.items()
    ]
    return tabulate(body, headers=["", *claim.columns], tablefmt="github", disable_numparse=True)


def _cell(values: Sequence[float | None]) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return "-"
    mean = f"{statistics.mean(present):.1f}"
    return mean if len(present) == 1 else f"{mean} ± {statistics.stdev(present):.1f}"
