"""The trainings that a table is missing, and their duration."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ovseg_d2.config import load_config

from .jobs import Job, missing_trainings

__all__ = ["describe_trainings"]

# MODEL.META_ARCHITECTURE -> CPU time of a training step in float32 on the Shapes world, from the
# comments of the configs; evaluations take little in comparison.
_SECONDS_PER_STEP = {
    "CLIPFineTune": 1.0,
    "CLIPPretrain": 0.6,
    "MaskAdaptedCLIP": 0.5,
    "MaskCLIPPlus": 1.1,
    "MaskedDistillCLIP": 1.0,
    "OVSeg": 0.6,
    "PixelCLIP": 1.1,
}
_UNKNOWN = 1.0  # seconds


def describe_trainings(jobs: Sequence[Job], folder: Path) -> str:
    """The trainings that :func:`~.jobs.run_jobs` would run with the same arguments, as text.

    Returns:
        A line for each row and number of steps, and one for their CPU time; "" if there are none.
    """
    counts: Counter[tuple[str, int]] = Counter()
    seconds = 0.0
    for job in missing_trainings(jobs, folder):
        cfg = load_config(job.config_file, (*job.words, "MODEL.DEVICE", "cpu"))
        steps = cfg.SOLVER.MAX_ITER
        counts[job.row, steps] += 1
        seconds += steps * _SECONDS_PER_STEP.get(cfg.MODEL.META_ARCHITECTURE, _UNKNOWN)
    if not counts:
        return ""
    number = counts.total()
    lines = [
        f"  {row}: {count} training{'s' * (count > 1)} of {steps} steps"
        for (row, steps), count in counts.items()
    ]
    head = f"{folder} lacks {number} training{'s' * (number > 1)} for this table:"
    return "\n".join([head, *lines, f"They take some {_duration(seconds)} of CPU time"])


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{max(1, round(minutes))} minutes"
