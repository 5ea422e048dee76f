"""Jobs behind a table: each finished one is kept, so that a table fills over several sittings."""

import hashlib
import json
import logging
import statistics
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from ...config import load_config
from ...files import write_atomically
from ..run import evaluate_config

__all__ = ["Claim", "Job", "format_table", "run_jobs"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One evaluation.

    Attributes:
        row: the table's row it belongs to; jobs of one row are averaged over their seeds.
        config_file: what it evaluates.
        opts: keys and values on top.
        seed: of the training behind it; None where nothing was trained.
    """

    row: str
    config_file: str
    opts: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def command(self) -> str:
        """What repeats this job alone."""
        words = ["python tools/train_net.py --config-file", self.config_file, "--eval-only"]
        return " ".join([*words, *self.opts])

    def key(self) -> str:
        """Changes with whatever the result depends on: the config and the packaged weights."""
        digest = hashlib.sha256(load_config(self.config_file, self.opts).dump().encode())
        assets = resources.files("ovseg_d2") / "assets"
        for name in sorted(entry.name for entry in assets.iterdir()):
            digest.update(name.encode() + (assets / name).read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Claim:
    """A table: its jobs, and the numbers that are its columns.

    Attributes:
        title: what it shows.
        jobs: in the order of its rows.
        columns: header -> key of the numbers in ``results.json``.
    """

    title: str
    jobs: tuple[Job, ...]
    columns: Mapping[str, str]


def run_jobs(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Run what has not been run yet.

    Args:
        jobs: any number.
        folder: keeps one JSON file for each finished job. One whose config or weights have
            changed since is run again; one that cannot be read is, with a warning.

    Returns:
        The numbers of each job, in order.
    """
    found = []
    for job in tqdm(jobs, desc="jobs"):
        key = job.key()
        path = folder / f"{key[:24]}.json"
        kept = _read(path)
        if kept is None:
            opts = (*job.opts, "OUTPUT_DIR", str(folder / "runs" / key[:24]))
            numbers = evaluate_config(job.config_file, opts)
            kept = {"row": job.row, "seed": job.seed, "command": job.command, "numbers": numbers}
            with write_atomically(path, "w") as file:
                json.dump(kept, file, indent=2)
        found.append(kept["numbers"])
    return found


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        _logger.warning("%s is damaged and its job is run again", path)
        return None


def format_table(claim: Claim, numbers: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: mean, and spread where there are several seeds, of each row.

    Args:
        claim: rows and columns.
        numbers: of each of its jobs.
    """
    rows: OrderedDict[str, list[Mapping[str, Any]]] = OrderedDict()
    for job, found in zip(claim.jobs, numbers, strict=True):
        rows.setdefault(job.row, []).append(found)
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
