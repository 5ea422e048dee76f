"""Measured and published numbers as a Markdown table, CSV and JSON."""

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ovseg_d2.files import write_atomically

from .measuring import Cell

__all__ = ["format_cells", "write_cells"]

# What the papers call mIoU; docs/metrics.md has the differences.
_MIOU = ("mIoU", "mIoU_mmseg", "mIoU_ovseg")


def format_cells(cells: Sequence[Cell]) -> str:
    """A Markdown table of "published / measured", then what is missing, and the sources.

    Args:
        cells: of one method, in order.
    """
    columns = list(dict.fromkeys(_column(cell) for cell in cells))
    rows: dict[str, dict[str, str]] = {}
    for cell in cells:
        rows.setdefault(cell.published.row, {})[_column(cell)] = _pair(cell)
    body = [[name, *(row.get(column, "") for column in columns)] for name, row in rows.items()]
    table = tabulate(body, headers=["", *columns], tablefmt="github", disable_numparse=True)
    parts = [f"published / measured, in percent:\n\n{table}"]
    for title, lines in (
        (
            "Failed",
            [
                f"{cell.published.row}, {cell.published.short}: {cell.failed}"
                for cell in cells
                if cell.failed
            ],
        ),
        ("Missing", [line for cell in cells for line in cell.missing]),
        ("Notes", [note for cell in cells for note in cell.notes]),
        ("Sources", [re.sub(r":\d+$", "", cell.published.source) for cell in cells]),
    ):
        if lines:
            parts.append("\n".join([f"{title}:", *(f"- {each}" for each in dict.fromkeys(lines))]))
    return "\n\n".join(parts)


def write_cells(cells: Sequence[Cell], path: str | Path, form: str) -> None:
    """Write all fields of all cells.

    Args:
        cells: in order.
        path: of the file.
        form: "csv" or "json".

    Raises:
        WriteError: the file cannot be written.
    """
    entries = [_fields(cell) for cell in cells]
    text = io.StringIO()
    if form == "csv":
        writer = csv.DictWriter(text, list(entries[0]) if entries else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(entries)
    else:
        json.dump(entries, text, indent=2)
        text.write("\n")
    with write_atomically(path, "w") as file:
        file.write(text.getvalue())


def _column(cell: Cell) -> str:
    number = cell.published
    return number.short if number.metric in _MIOU else f"{number.short} {number.metric}"


def _pair(cell: Cell) -> str:
    """The two numbers of a cell, with as many decimals as the published one has."""
    value = cell.published.value
    decimals = len(value.partition(".")[2]) or 1
    measured = "-" if cell.measured is None else f"{cell.measured:.{decimals}f}"
    return f"{value} / {measured}"


def _fields(cell: Cell) -> dict[str, Any]:
    number = cell.published
    published = None if number.value == "-" else float(number.value)
    known = published is not None and cell.measured is not None
    return {
        "method": number.method,
        "row": number.row,
        "dataset": number.dataset,
        "metric": number.metric,
        "published": published,
        "measured": cell.measured,
        "difference": round(cell.measured - published, 4) if known else None,
        "source": number.source,
        "config": cell.config_file,
        "command": cell.command,
        "weights": cell.weights,
        "weights_sha256": cell.sha256,
        "missing": "; ".join(cell.missing),
        "failed": cell.failed,
        "notes": "; ".join(cell.notes),
    }
