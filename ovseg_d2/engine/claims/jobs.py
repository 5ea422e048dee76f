"""Jobs behind a table: each finished one is kept, so that a table fills over several sittings."""

import hashlib
import json
import logging
import shlex
import statistics
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tabulate import tabulate
from tqdm import tqdm

from ...config import load_config
from ...evaluation import numbers_of, read_results
from ...files import write_atomically
from ..hooks import read_curves
from ..run import evaluate_config

__all__ = ["Claim", "Job", "format_table", "run_jobs"]

_logger = logging.getLogger(__name__)
_WEIGHTS = "model_final.pth"
Point = tuple[float, float]
Panels = Mapping[str, Mapping[str, Sequence[Point]]]


@dataclass(frozen=True)
class Job:
    """One evaluation, or one training with the evaluation at its end.

    Attributes:
        row: the table's row it belongs to; jobs of one row are averaged over their seeds.
        config_file: what it evaluates or trains.
        opts: keys and values on top.
        seed: trains with it; None evaluates only.
        weights: config keys that take weights of trainings, such as ``MODEL.WEIGHTS``, each with
            its training, which is done before; () starts from what the config says.
        prepare: words of a Python command that makes the data it reads, and does nothing where
            they are there.
        prepare_from: last words of that command that take a training's weights, each with the
            training, which is done before.
    """

    row: str
    config_file: str
    opts: tuple[str, ...] = ()
    seed: int | None = None
    weights: tuple[tuple[str, "Job"], ...] = ()
    prepare: tuple[str, ...] = ()
    prepare_from: tuple[tuple[str, "Job"], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Keys and values, the seed's among them."""
        return self.opts if self.seed is None else (*self.opts, "SEED", str(self.seed))

    @property
    def command(self) -> str:
        """What repeats this job alone; what it starts from comes first."""
        return "\n  then ".join(dict.fromkeys(self._commands()))

    def _commands(self) -> list[str]:
        words = ["python tools/train_net.py --config-file", self.config_file]
        words += ["--eval-only"] if self.seed is None else []
        words += [shlex.quote(word) for word in self.words]
        words += [f"{name} {_weights_of(job)}" for name, job in self.weights]
        trainings = (*self.prepare_from, *self.weights)
        before = [command for _, job in trainings for command in job._commands()]
        if self.prepare:
            last = [f"{word}{_weights_of(job)}" for word, job in self.prepare_from]
            before.append(" ".join(["python", shlex.join(self.prepare), *last]))
        return [*before, " ".join(words)]

    def with_opts(self, opts: Sequence[str]) -> "Job":
        """The same with further keys and values, also of the trainings it starts from."""
        weights, prepare_from = (
            tuple((name, job.with_opts(opts)) for name, job in trainings)
            for trainings in (self.weights, self.prepare_from)
        )
        words = (*self.opts, *opts)
        return replace(self, opts=words, weights=weights, prepare_from=prepare_from)

    def key(self) -> str:
        """Changes with whatever the result depends on: configs and the packaged weights.

        The device and the processes that read the data are not of that kind: a sample is a function
        of its place.
        """
        anywhere = ("MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0")
        cfg = load_config(self.config_file, (*self.words, *anywhere))
        digest = hashlib.sha256(cfg.dump().encode())
        digest.update(b"train" if self.seed is not None else b"evaluate")
        digest.update(repr(self.prepare).encode() if self.prepare else b"")
        for name, job in (*self.prepare_from, *self.weights):
            digest.update((name + job.key()).encode())
        digest.update(_assets_digest())
        return digest.hexdigest()


def _weights_of(job: Job) -> str:
    """Where a training's result lies, for a reader."""
    return f"<OUTPUT_DIR of {job.row!r}>/{_WEIGHTS}"


@cache
def _assets_digest() -> bytes:
    """Of the packaged weights and their model config, which do not change while a program runs."""
    digest = hashlib.sha256()
    assets = resources.files("ovseg_d2") / "assets"
    for name in sorted(entry.name for entry in assets.iterdir()):
        if name.endswith((".safetensors", ".json")):
            digest.update(name.encode() + (assets / name).read_bytes())
    return digest.digest()


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


def run_jobs(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Run what has not been run yet; a training that was cut off goes on where it stopped.

    Args:
        jobs: any number.
        folder: keeps one JSON file for each finished job. One whose config or weights have
            changed since is run again; one that cannot be read is, with a warning.

    Returns:
        The numbers of each job, in order: those of ``results.json``, of several test datasets each
        as ``<dataset>/<number>``; and of a training ``curves``, name -> (iteration, value), what
        was evaluated on the way.

    Raises:
        RuntimeError: a training failed.
    """
    return [_finish(job, folder)["numbers"] for job in tqdm(jobs, desc="jobs")]


def _finish(job: Job, folder: Path, *, with_weights: bool = False) -> dict[str, Any]:
    """What is kept of a job, run if need be; its trainings before it."""
    path = folder / f"{job.key()[:24]}.json"
    output = _output_of(job, folder)
    kept = _read(path)
    # Numbers may have been kept without the weights.
    if kept is not None and (not with_weights or (output / _WEIGHTS).is_file()):
        return kept
    opts = (*job.words, "OUTPUT_DIR", str(output))
    for name, training in job.weights:
        opts = (*opts, name, _trained(training, folder))
    if job.prepare:
        last = [f"{word}{_trained(training, folder)}" for word, training in job.prepare_from]
        _run([sys.executable, *job.prepare, *last], "preparing data failed")
    numbers = (
        evaluate_config(job.config_file, opts)
        if job.seed is None
        else _train(job.config_file, opts, output)
    )
    kept = {"row": job.row, "seed": job.seed, "command": job.command, "numbers": numbers}
    with write_atomically(path, "w") as file:
        json.dump(kept, file, indent=2)
    return kept


def _output_of(job: Job, folder: Path) -> Path:
    """Where a job writes to while it runs."""
    return folder / "runs" / job.key()[:24]


def _trained(training: Job, folder: Path) -> str:
    """Path of a training's weights, run if need be."""
    _finish(training, folder, with_weights=True)
    return str(_output_of(training, folder) / _WEIGHTS)


def _train(config_file: str, opts: Sequence[str], output: Path) -> dict[str, Any]:
    """Train in a process of its own, from its last checkpoint if it has one."""
    command = [sys.executable, "tools/train_net.py", "--config-file", config_file, "--resume"]
    _run([*command, *opts], "training failed", f"; its log is in {output}")
    numbers = numbers_of(read_results(output), load_config(config_file, opts).DATASETS.TEST)
    curves = read_curves(output / "metrics.json", "/")
    return numbers | {"curves": {name: c for name, c in curves.items() if "-" not in name}}


def _run(command: Sequence[str], what_failed: str, more: str = "") -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{what_failed} with exit code {done.returncode}: {shlex.join(command)}{more}"
        )


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
