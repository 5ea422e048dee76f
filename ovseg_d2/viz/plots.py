"""Plot curves as a PNG file, one panel per measure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ovseg_d2.files import write_atomically

__all__ = ["plot_curves"]

_COLORS = 10  # number of matplotlib's colours
_STYLES = ("-", "--", ":")


def plot_curves(
    path: str | os.PathLike[str],
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    *,
    x_label: str,
    title: str = "",
) -> None:
    """Draw curves into a PNG file.

    Args:
        path: the file; it is written whole or not at all.
        panels: y label with its unit -> name of a curve -> (x, y) points, in any order. Curves of
            one name have the same colour and style in all panels.
        x_label: x label with its unit.
        title: title of the figure.

    Raises:
        ValueError: no panel, or one without a curve.
        WriteError: the file cannot be written.
    """
    if not panels or not all(panels.values()):
        raise ValueError(f"panels are {list(panels)}, and one has no curve; give each a curve")
    # Imported here, because loading matplotlib takes most of a second and few runs draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 + 5 * len(panels), 4.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    lines = {}
    for place, (y_label, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for name, points in curves.items():
            xs, ys = zip(*sorted(points), strict=True)
            number = names.index(name)
            style = f"{_STYLES[number // _COLORS % len(_STYLES)]}C{number % _COLORS}"
            (lines[name],) = axes.plot(xs, ys, style, marker="o", markersize=3)
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(alpha=0.3)
    # Beside the curves, not over them.
    figure.legend([lines[name] for name in names], names, loc="outside right center")
    with write_atomically(path) as file:
        canvas.print_png(file)
