"""Measure the rows of a paper's table: one job for each row and dataset, kept when it is done."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import open_clip
import torch
from claims.jobs import Job, run_job

from ovseg_d2.clip.published import cached_published
from ovseg_d2.config import load_config
from ovseg_d2.d2.data import DatasetCatalog
from ovseg_d2.data.datasets.benchmarks import BENCHMARKS, datasets_root
from ovseg_d2.prepare.datasets.owners import OWNER_FILES, command_of

from .releases import Digests, read_releases
from .tables import PaperRow, Published

__all__ = ["Cell", "measure"]

_CLIP = "MODEL.CLIP.PRETRAINED"


@dataclass(frozen=True)
class Cell:
    """A published number beside the measured one.

    Attributes:
        published: the number.
        config_file: of the evaluation.
        measured: None if it is missing.
        missing: what is not on disk, each with the remedy.
        failed: the error that ended the evaluation; "" without one.
        command: repeats the evaluation; "" if it cannot run.
        weights: the weight file, or the tag of open_clip.
        sha256: of the weight file.
        notes: on the measured number, such as that weights are random.
    """

    published: Published
    config_file: str
    measured: float | None = None
    missing: tuple[str, ...] = ()
    failed: str = ""
    command: str = ""
    weights: str = ""
    sha256: str = ""
    notes: tuple[str, ...] = ()


class _MissingError(Exception):
    """Files that an evaluation needs are not on disk; each argument is one, with the remedy."""


def measure(
    rows: Sequence[tuple[PaperRow, Sequence[Published]]],
    folder: Path,
    weights: Path,
    opts: Sequence[str] = (),
) -> Iterator[Cell]:
    """Evaluate row by row; what is kept is not run again, and what fails stops no other row.

    Args:
        rows: each with its published numbers.
        folder: keeps the numbers of finished evaluations.
        weights: folder of the released weight files.
        opts: config keys and values of every evaluation.

    Yields:
        A cell for each published number, in order.
    """
    digests = Digests(folder / "digests.json")
    for row, numbers in rows:
        for _, group in groupby(numbers, key=lambda number: number.dataset):
            yield from _measure_dataset(row, list(group), folder, weights, tuple(opts), digests)


def _measure_dataset(
    row: PaperRow,
    numbers: Sequence[Published],
    folder: Path,
    weights: Path,
    opts: tuple[str, ...],
    digests: Digests,
) -> Iterator[Cell]:
    """The cells of a row and a dataset; several metrics are of one evaluation."""
    config_file = row.config_file(numbers[0].short)
    about: dict[str, Any] = {"config_file": config_file}
    try:
        job, used = _build_job(row, numbers[0], weights, opts, digests)
        about |= {"command": job.command, **used}
        result = run_job(job, folder)
        about["notes"] = tuple(filter(None, (result.get("note"), _incomplete(numbers[0].dataset))))
    except _MissingError as error:
        result = {}
        about["missing"] = error.args
    except (ValueError, OSError, torch.OutOfMemoryError) as error:
        result = {}
        about["failed"] = " ".join(str(error).split())
    for number in numbers:
        measured = result.get(number.metric)
        notes = about.get("notes", ())
        if result and measured is None:
            notes += (f"{number.dataset}: its labels give no {number.metric}",)
        yield Cell(published=number, measured=measured, **{**about, "notes": notes})


def _build_job(
    row: PaperRow, number: Published, weights: Path, opts: tuple[str, ...], digests: Digests
) -> tuple[Job, dict[str, str]]:
    """The evaluation of a row on a dataset, and the fields of its cells.

    Raises:
        _MissingError: the dataset or the weights are not on disk, or the file is another one.
    """
    config_file = row.config_file(number.short)
    words = ("DATASETS.TEST", f"('{number.dataset}',)", *row.opts, *opts)
    files: list[tuple[str, str, str]] = []
    used: dict[str, list[str]] = {"weights": [], "sha256": []}
    data, missing = [], []
    try:
        data.append(f"{len(DatasetCatalog.get(number.dataset))} images")
    except FileNotFoundError as error:
        missing.append(_how_to_get(number.dataset) or str(error))
    for key, source in row.weight_files(number.short):
        try:
            path = _given(key, opts) or _find_weights(key, source, config_file, words, weights)
            content = digests.of(path) if path.is_file() else {}
            _check_release(path, content)
        except _MissingError as error:
            missing += error.args
            continue
        used["weights"].append(str(path))
        used["sha256"] += filter(None, [content.get("sha256")])
        if key in opts or path.name != source and not source.startswith("train:"):
            # A tag of open_clip stays, because it also names the statistics of the pixels.
            data.append(f"{key} {content.get('sha256')}")
        else:
            files.append((key, str(path), content["sha256"]))
    if missing:
        raise _MissingError(*missing)
    job = Job(row.name, config_file, words, files=tuple(files), data=", ".join(data))
    return job, {name: ", ".join(values) for name, values in used.items()}


def _how_to_get(dataset: str) -> str:
    """The archives of a benchmark that is not on disk, and the command; "" for other datasets."""
    files = [file for file in OWNER_FILES if dataset in file.datasets]
    if not files:
        return ""
    archives = ", ".join(dict.fromkeys(map(str, files)))
    return (
        f"{dataset} is not in the folder {str(datasets_root())!r}, which DETECTRON2_DATASETS "
        f"names; python {command_of(dataset)} --archives FOLDER makes it from {archives}"
    )


def _incomplete(dataset: str) -> str:
    """A note if a benchmark has another number of images on disk; "" otherwise."""
    images = len(DatasetCatalog.get(dataset))
    for benchmark in BENCHMARKS:
        if benchmark.name == dataset and benchmark.num_images != images:
            return f"{dataset}: {images} images on disk, {benchmark.num_images} in the benchmark"
    return ""


def _given(key: str, opts: Sequence[str]) -> Path | None:
    """The weights of the user's, or the word random, of the command line; None without them."""
    if key not in opts:
        return None
    return Path(opts[len(opts) - opts[::-1].index(key)])


def _check_release(path: Path, digests: dict[str, str]) -> None:
    """Refuse a file that has the name of a release and other content.

    Raises:
        _MissingError: it is another file.
    """
    release = read_releases().get(path.name)
    problem = release.problem(digests) if release and digests else ""
    if problem:
        raise _MissingError(f"{path} is not the released file: {problem}")


def _find_weights(
    key: str, source: str, config_file: str, words: Sequence[str], folder: Path
) -> Path:
    """The released file in the folder, a CLIP in a cache, or the result of a training.

    Raises:
        _MissingError: there is none.
    """
    cfg = load_config(config_file, (*words, "MODEL.DEVICE", "cpu"))
    if source.startswith("train:"):
        return _trained(f"configs/paper/{source.removeprefix('train:')}.yaml")
    path = folder / source
    if path.is_file():
        return path
    page = read_releases()[source].page
    if key == _CLIP:
        tag = open_clip.get_pretrained_cfg(cfg.MODEL.CLIP.NAME, cfg.MODEL.CLIP.PRETRAINED)
        cached = cached_published(tag) if tag else None
        if cached is not None:
            return cached
        raise _MissingError(
            f"{path} does not exist, and no cache of open_clip holds "
            f"{cfg.MODEL.CLIP.PRETRAINED!r} of {cfg.MODEL.CLIP.NAME!r}; get the file from {page}"
        )
    raise _MissingError(
        f"{path} does not exist; get it from {page} (docs/model_zoo.md), or name its folder with "
        "--weights"
    )


def _trained(config_file: str) -> Path:
    """The weights that a config's training writes.

    Raises:
        _MissingError: there are none.
    """
    folder = Path(load_config(config_file, ("MODEL.DEVICE", "cpu")).OUTPUT_DIR)
    path = folder / "model_final.pth"
    if not path.is_file():
        raise _MissingError(
            f"no weights were released; python tools/train_net.py --config-file {config_file} "
            f"trains them into {folder}"
        )
    return path
