"""Jobs behind a table; finished jobs are kept, so that a table can be completed step by step."""

import hashlib
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_d2.config import load_config
from ovseg_d2.d2.config import CfgNode
from ovseg_d2.engine.hooks import read_curves
from ovseg_d2.engine.run import evaluate_config
from ovseg_d2.evaluation import numbers_of, read_results
from ovseg_d2.files import write_atomically
from ovseg_d2.json_files import read_json

__all__ = ["Job", "JobError", "missing_trainings", "run_job", "run_jobs"]

_logger = logging.getLogger("ovseg_d2.claims")
# The repository; commands name its tools relative to it, and run in any folder.
ROOT = Path(__file__).resolve().parents[2]
_WEIGHTS = "model_final.pth"
_MAX_FILE = 2**28  # bytes of the file of a job
_NOT_OF_RESULTS = ("MODEL.DEVICE", "DATALOADER.NUM_WORKERS", "OUTPUT_DIR")


class JobError(RuntimeError):
    """A job's command failed; the command's output has the reason."""


@dataclass(frozen=True)
class Job:
    """One evaluation, or one training with the evaluation at its end.

    Attributes:
        row: its row in the table; jobs of one row are averaged over their seeds.
        config_file: of the evaluation or training.
        opts: keys and values that override the config's.
        seed: of the training; None evaluates only.
        weights: config keys that take the weights of a training, such as ``MODEL.WEIGHTS``, each
            with its training, which runs first; () keeps those of the config.
        prepare: words of a Python command that makes the job's data unless they exist.
        prepare_from: last words of that command that take the weights of a training, each with its
            training, which runs first.
        files: config keys that take weight files, each with its path and a digest of its content.
            The digest counts for `key`, not the path.
        data: further data that the result depends on, in words, such as a number of images.
    """

    row: str
    config_file: str
    opts: tuple[str, ...] = ()
    seed: int | None = None
    weights: tuple[tuple[str, "Job"], ...] = ()
    prepare: tuple[str, ...] = ()
    prepare_from: tuple[tuple[str, "Job"], ...] = ()
    files: tuple[tuple[str, str, str], ...] = ()
    data: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """Keys and values, including the seed."""
        return self.opts if self.seed is None else (*self.opts, "SEED", str(self.seed))

    @property
    def command(self) -> str:
        """The commands that repeat this job, with those of its trainings first."""
        return "\n  then ".join(dict.fromkeys(self._commands()))

    @property
    def _trainings(self) -> tuple[tuple[str, "Job"], ...]:
        """The trainings it starts from, by the words that take them, in the order they run."""
        return (*self.prepare_from, *self.weights)

    def _commands(self) -> list[str]:
        words = ["python tools/train_net.py --config-file", self.config_file]
        words += ["--eval-only"] if self.seed is None else []
        words += [shlex.quote(word) for word in self.words]
        words += [f"{name} {_weights_of(job)}" for name, job in self.weights]
        words += [f"{name} {shlex.quote(path)}" for name, path, _ in self.files]
        before = [command for _, job in self._trainings for command in job._commands()]
        if self.prepare:
            last = [f"{word}{_weights_of(job)}" for word, job in self.prepare_from]
            before.append(" ".join(["python", shlex.join(self.prepare), *last]))
        return [*before, " ".join(words)]

    def with_opts(self, opts: Sequence[str]) -> "Job":
        """The job and its trainings with further keys and values."""
        weights, prepare_from = (
            tuple((name, job.with_opts(opts)) for name, job in trainings)
            for trainings in (self.weights, self.prepare_from)
        )
        words = (*self.opts, *opts)
        return replace(self, opts=words, weights=weights, prepare_from=prepare_from)

    def configs(self) -> list[dict[str, Any]]:
        """Its config by full key names as JSON, then the configs of its trainings.

        The device, the number of loader processes and the output folder are left out: a sample is a
        function of its index.
        """
        return [
            _read_config(self.config_file, self.words),
            *(config for _, job in self._trainings for config in job.configs()),
        ]

    def key(self, *, with_defaults: bool = False) -> str:
        """A digest of everything that the result depends on: configs and the packaged weights.

        Args:
            with_defaults: whether keys at their defaults count. Without them, a new key, or one
                that only detectron2 has, does not change the digest.
        """
        config = _read_config(self.config_file, self.words)
        if not with_defaults:
            defaults = _read_config(None, ())
            config = {k: v for k, v in config.items() if k not in defaults or v != defaults[k]}
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        digest.update(b"train" if self.seed is not None else b"evaluate")
        digest.update(repr(self.prepare).encode() if self.prepare else b"")
        for name, job in self._trainings:
            digest.update((name + job.key(with_defaults=with_defaults)).encode())
        if self.files or self.data:
            contents = [(name, content) for name, _, content in self.files]
            digest.update(repr((contents, self.data)).encode())
        digest.update(_assets_digest())
        return digest.hexdigest()


def _read_config(config_file: str | None, opts: Sequence[str]) -> dict[str, Any]:
    """The keys that a result may depend on, by their full names; tuples become lists."""

    def entries(node: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
        for name, value in node.items():
            if isinstance(value, CfgNode):
                yield from entries(value, f"{prefix}{name}.")
            elif prefix + name not in _NOT_OF_RESULTS:
                yield prefix + name, value

    # The config's device may be missing on this machine.
    cfg = load_config(config_file, (*opts, "MODEL.DEVICE", "cpu"))
    return json.loads(json.dumps(dict(entries(cfg))))


def _weights_of(job: Job) -> str:
    """The path of a training's weights, as a description."""
    return f"<OUTPUT_DIR of {job.row!r}>/{_WEIGHTS}"


@cache
def _assets_digest() -> bytes:
    """A digest of the packaged weights and their model config."""
    digest = hashlib.sha256()
    assets = resources.files("ovseg_d2") / "assets"
    for name in sorted(entry.name for entry in assets.iterdir()):
        if name.endswith((".safetensors", ".json")):
            digest.update(name.encode() + (assets / name).read_bytes())
    return digest.digest()


def run_jobs(jobs: Sequence[Job], folder: Path) -> list[dict[str, Any]]:
    """Run the jobs that are not kept; an interrupted training continues where it stopped.

    Args:
        jobs: any number.
        folder: keeps a JSON file for each finished job. A job is run again if its config or weights
            have changed, and with a warning if its file cannot be read or has another default of
            some key.

    Returns:
        The numbers of each job, in order: those of ``results.json``, for several test datasets as
        ``<dataset>/<number>``; and for a training ``curves``, name -> (iteration, value), of the
        evaluations during it.

    Raises:
        JobError: a training, or the command that makes its data, failed.
    """
    return [run_job(job, folder) for job in tqdm(jobs, desc="jobs")]


def run_job(job: Job, folder: Path) -> dict[str, Any]:
    """The numbers of one job, see `run_jobs`."""
    return _finish(job, folder)["numbers"]


def missing_trainings(jobs: Sequence[Job], folder: Path) -> list[Job]:
    """The trainings that `run_jobs` would run with the same arguments, without duplicates."""
    trainings: dict[str, Job] = {}

    def visit(job: Job, with_weights: bool) -> None:
        if _kept(job, folder, with_weights) is None:
            for _, training in job._trainings:
                visit(training, True)
            if job.seed is not None:
                trainings.setdefault(job.key(with_defaults=True), job)

    for job in jobs:
        visit(job, False)
    return list(trainings.values())


def _finish(job: Job, folder: Path, *, with_weights: bool = False) -> dict[str, Any]:
    """The kept content of a job; the job and its trainings run first if needed."""
    kept = _kept(job, folder, with_weights)
    if kept is not None:
        return kept
    output = _output_of(job, folder)
    opts = (*job.words, "OUTPUT_DIR", str(output))
    for name, training in job.weights:
        opts = (*opts, name, _trained(training, folder))
    for name, path, _ in job.files:
        opts = (*opts, name, path)
    if job.prepare:
        last = [f"{word}{_trained(training, folder)}" for word, training in job.prepare_from]
        _run([*job.prepare, *last], "preparing data failed")
    numbers = (
        evaluate_config(job.config_file, opts)
        if job.seed is None
        else _train(job.config_file, opts, output)
    )
    kept = {
        "row": job.row,
        "seed": job.seed,
        "command": job.command,
        "numbers": numbers,
        "configs": job.configs(),
    }
    with write_atomically(_path_of(job, folder), "w") as file:
        json.dump(kept, file, indent=2)
    return kept


def _kept(job: Job, folder: Path, with_weights: bool) -> dict[str, Any] | None:
    """The kept content of a job; None if it has to run, or its weights are needed and missing."""
    kept = _read(_path_of(job, folder), job)
    # Numbers may have been kept without the weights.
    if with_weights and not (_output_of(job, folder) / _WEIGHTS).is_file():
        return None
    return kept


def _path_of(job: Job, folder: Path) -> Path:
    return folder / f"{job.key()[:24]}.json"


def _output_of(job: Job, folder: Path) -> Path:
    """The output folder of a job; another default of a key makes another one."""
    return folder / "runs" / job.key(with_defaults=True)[:24]


def _trained(training: Job, folder: Path) -> str:
    """The path of a training's weights; the training runs first if needed."""
    _finish(training, folder, with_weights=True)
    return str(_output_of(training, folder) / _WEIGHTS)


def _train(config_file: str, opts: Sequence[str], output: Path) -> dict[str, Any]:
    """Train in a new process, from the last checkpoint if there is one."""
    command = ["tools/train_net.py", "--config-file", config_file, "--resume"]
    _run([*command, *opts], "training failed", f"; its log is in {output}")
    numbers = numbers_of(read_results(output), load_config(config_file, opts).DATASETS.TEST)
    curves = read_curves(output / "metrics.json", "/")
    return numbers | {"curves": {name: c for name, c in curves.items() if "-" not in name}}


def _run(command: Sequence[str], what_failed: str, more: str = "") -> None:
    # If this process is killed, a training left behind would write where the next one does.
    attended = [sys.executable, "-m", "ovseg_d2.parent_watch", str(os.getpid())]
    tool = ROOT / command[0]
    words = [str(tool), *command[1:]] if tool.is_file() else command
    done = subprocess.run([*attended, *words], check=False)
    if done.returncode:
        what = shlex.join(["python", *command])
        raise JobError(f"{what_failed} with exit code {done.returncode}: {what}{more}")


def _read(path: Path, job: Job) -> dict[str, Any] | None:
    """The kept content of a job; None if it is missing, damaged or of other defaults."""
    if not path.is_file():
        return None
    try:
        kept = read_json(path, max_bytes=_MAX_FILE)
        if not isinstance(kept, dict) or not isinstance(kept.get("numbers"), dict):
            raise ValueError("it holds no numbers")
        configs = kept["configs"]
        if not isinstance(configs, list) or not all(isinstance(config, dict) for config in configs):
            raise ValueError("it holds no configs")
        pairs = list(zip(configs, job.configs(), strict=True))
    except (ValueError, KeyError):
        _logger.warning("%s is damaged and its job is run again", path)
        return None
    # Keys of one side only are new, removed or detectron2's, and were not set.
    other = {k for then, now in pairs for k in then.keys() & now.keys() if then[k] != now[k]}
    if other:
        _logger.warning(
            "%s has another default of %s; its job is run again", path, ", ".join(sorted(other))
        )
        return None
    return kept
