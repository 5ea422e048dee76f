"""Curves over a number that grows, as a picture."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ovseg_d2.files import write_atomically

__all__ = ["plot_curves"]

_COLORS = 10  # matplotlib's, after which they come again
_STYLES = ("-", "--", ":")


def plot_curves(
    path: str | os.PathLike[str],
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
) -> None:
    """Draw curves into a PNG file.

    Args:
        path: the file; it appears whole or not at all.
        curves: name -> (x, y) points, in any order.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        title: above the axes.

    Raises:
        ValueError: no curve.
        WriteError: the file cannot be written.
    """
    if not curves:
        raise ValueError("curves is empty; give at least one")
    # Here and not above: loading matplotlib takes most of a second, and few runs draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(curves.items()):
        xs, ys = zip(*sorted(points), strict=True)
        style = _STYLES[number // _COLORS % len(_STYLES)]
        axes.plot(xs, ys, style, marker="o", markersize=3, label=name)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # beside the curves, not over them
    with write_atomically(path) as file:
        canvas.print_png(file)
