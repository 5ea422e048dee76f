"""Hooks of the plugin's trainer."""

import logging
import sys
from pathlib import Path

import numpy as np
import torch

from ..d2.engine import HookBase
from ..d2.utils import comm
from ..files import WriteError
from ..json_files import LeftOut, read_json_lines
from ..viz import plot_curves

__all__ = ["PlotScores", "SeedEachStep", "drop_unfinished_line", "read_curves"]

_logger = logging.getLogger(__name__)
# The first of these that was measured is plotted: part of the scalars' names -> label with unit.
_MEASURES = {"mIoU": "mIoU (%)", "class_accuracy": "mean accuracy of classes (%)"}


class SeedEachStep(HookBase):
    """Make the random numbers of a step a function of (seed, iteration, rank).

    A run that is resumed from a checkpoint then repeats the uninterrupted run's dropout too, and no
    generator's state has to be saved.
    """

    def __init__(self, seed: int) -> None:
        """Take the run's seed."""
        self._seed = seed % 2**32

    def before_step(self) -> None:
        """Seed torch's generators for this step."""
        # Mixed and not packed into the bits of one number: torch's CPU generator reads 32 bits.
        numbers = (self._seed, int(self.trainer.iter), comm.get_rank())
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


class PlotScores(HookBase):
    """Draw ``OUTPUT_DIR/scores.png`` after each evaluation: scores over the iterations.

    The points come from ``metrics.json``, so that a resumed run draws the whole training.
    """

    def __init__(self, output_dir: str, period: int) -> None:
        """Set the folder and the period.

        Args:
            output_dir: the run's folder.
            period: iterations between evaluations; 0 draws at the end only.
        """
        self._folder = Path(output_dir)
        self._period = period

    def after_step(self) -> None:
        """Draw after an evaluation."""
        if self._period > 0 and (self.trainer.iter + 1) % self._period == 0:
            self._draw()

    def after_train(self) -> None:
        """Draw the whole run."""
        self._draw()

    def _draw(self) -> None:
        metrics_file = self._folder / "metrics.json"
        candidates = ((read_curves(metrics_file, part), part) for part in _MEASURES)
        curves, part = next((pair for pair in candidates if pair[0]), ({}, ""))
        if not curves:
            return
        path = self._folder / "scores.png"
        try:
            plot_curves(path, {_MEASURES[part]: curves}, x_label="iteration")
        except WriteError as error:
            # The numbers are in metrics.json; the training is worth more than their plot.
            _logger.warning("%s; the training goes on without the plot", error)


def read_curves(metrics_file: Path, part: str) -> dict[str, list[tuple[float, float]]]:
    """Curves of all scalars whose name holds ``part``, from a JSON-lines file.

    Args:
        metrics_file: ``metrics.json`` of a run. If an iteration occurs twice, as after a resume,
            the later line counts; damaged lines are skipped.
        part: of the scalars' names.

    Returns:
        Name -> (iteration, value); empty if there is no file.
    """
    if not metrics_file.is_file():
        return {}
    curves: dict[str, dict[float, float]] = {}
    for _, entry in read_json_lines(metrics_file, LeftOut()):
        iteration = entry.pop("iteration", None)
        if not _is_finite(iteration):
            continue
        for name, value in entry.items():
            if part in name and _is_finite(value):
                curves.setdefault(name, {})[iteration] = value
    return {name: sorted(points.items()) for name, points in curves.items()}


def _is_finite(value: object) -> bool:
    # Integers beyond the range of floats cannot come from a training.
    return isinstance(value, int | float) and abs(value) < sys.float_info.max


def drop_unfinished_line(path: Path) -> None:
    """Remove the last line of a file if it has no line end, because a kill left it unfinished.

    Args:
        path: a file of lines that is about to be continued; it need not exist.
    """
    if not path.is_file():
        return
    with open(path, "r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
