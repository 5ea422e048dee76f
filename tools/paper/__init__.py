"""The tables of the papers: published numbers, and those measured with the released weights."""

from .measuring import Cell, measure
from .releases import Release, read_releases
from .report import format_cells, write_cells
from .tables import PaperRow, Published, choose_rows, read_published, read_rows

__all__ = [
    "Cell",
    "PaperRow",
    "Published",
    "Release",
    "choose_rows",
    "format_cells",
    "measure",
    "read_published",
    "read_releases",
    "read_rows",
    "write_cells",
]
