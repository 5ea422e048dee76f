"""Checking the files of datasets before hours are spent on them."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...data.datasets import CAPTION_SETS
from ...data.datasets.benchmarks import BENCHMARKS, Benchmark, datasets_root, list_stems
from ...data.datasets.sa1b import SA1B_FOLDER, SA1B_NAME
from ...files import expand_user
from ...json_files import printable
from ...vocab import load_vocabulary
from .check_captions import CAPTION_SIZES, check_captions
from .check_ids import class_agreement, find_wrong_ids, presence_lists, read_presence
from .check_pairs import Pair, check_pair, group_problems
from .check_sa1b import check_sa1b
from .name_lists import some_names
from .owners import benchmark, command_of, where_to_get
from .parallel import check_workers, run_parallel

__all__ = ["DatasetCheck", "check_datasets"]

_LOOKED_FOR = 3  # missing files whose folder is searched for similar names


@dataclass(frozen=True)
class DatasetCheck:
    """Result of checking a dataset.

    Attributes:
        name: registered name.
        num_images: number of images with labels, captions or masks.
        is_there: whether its folder of labels or masks, or its file of captions, exists.
        findings: sentences about what is missing or wrong.
        notes: sentences about what could not be checked.
    """

    name: str
    num_images: int
    is_there: bool
    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_datasets(
    names: Collection[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    *,
    workers: int | None = None,
) -> list[DatasetCheck]:
    """Check the files of datasets; nothing is written.

    Of benchmarks, checked are the number of images, images without labels and labels without an
    image, whether files are whole, sizes and types, the ids of all label files, and their order
    where it can be told (`check_ids`). Of captions and of SA-1B, see `check_captions` and
    `check_sa1b`.

    Args:
        names: registered datasets; None takes all that a command makes.
        root: folder of all datasets; None takes $DETECTRON2_DATASETS, or "datasets".
        workers: number of processes; None takes one for each CPU.

    Raises:
        ValueError: an unknown name, or fewer than 1 process.
    """
    known = [*(entry.name for entry in BENCHMARKS), *CAPTION_SIZES, SA1B_NAME]
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no benchmark; give some of {', '.join(known)}")
    folder = datasets_root() if root is None else expand_user(root)
    number = check_workers(workers)
    return [_check_any(name, folder, number) for name in (known if names is None else names)]


def _check_any(name: str, root: Path, workers: int) -> DatasetCheck:
    if name in CAPTION_SIZES:
        path, check = root / CAPTION_SETS[name][0], partial(check_captions, name)
    elif name == SA1B_NAME:
        path, check = root / SA1B_FOLDER, check_sa1b
    else:
        return _check(benchmark(name), root, workers)
    if not path.exists():
        return _missing(name, path)
    num_images, findings = check(path, workers)
    return DatasetCheck(name, num_images, True, tuple(findings))


def _missing(name: str, path: Path) -> DatasetCheck:
    finding = f"there is no {path}; get {where_to_get(name)}, and run python {command_of(name)}"
    return DatasetCheck(name, 0, False, (finding,))


def _check(dataset: Benchmark, root: Path, workers: int) -> DatasetCheck:
    images, labels = root / dataset.image_folder, root / dataset.label_folder
    make = f"python {command_of(dataset.name)}"
    if not labels.is_dir():
        return _missing(dataset.name, labels)
    if not images.is_dir():
        finding = f"there is no {images}; get {where_to_get(dataset.name, 'images')}"
        return DatasetCheck(dataset.name, 0, True, (finding,))
    findings: list[str] = []
    image_stems = list_stems(images, dataset.image_suffix)
    label_stems = list_stems(labels, dataset.label_suffix)
    both = sorted(image_stems & label_stems)
    if len(both) != dataset.num_images:
        findings.append(
            f"{len(both)} images have labels, and the benchmark has {dataset.num_images}; run "
            f"{make}, with {where_to_get(dataset.name)}"
        )
    alone = sorted(label_stems - image_stems)
    if alone:
        hint = _renamed(images, dataset.image_suffix, alone)
        findings.append(
            f"{len(alone)} label files have no image in {images}: {some_names(alone)}{hint}; get "
            f"{where_to_get(dataset.name, 'images')}"
        )
    alone = [] if dataset.shared_images else sorted(image_stems - label_stems)
    if alone:
        hint = _renamed(labels, dataset.label_suffix, alone)
        findings.append(
            f"{len(alone)} images have no label file in {labels}: {some_names(alone)}{hint}; run "
            f"{make}"
        )
    pairs = [
        Pair(
            stem,
            images / f"{stem}{dataset.image_suffix}",
            labels / f"{stem}{dataset.label_suffix}",
        )
        for stem in both
    ]
    check = partial(check_pair, dataset.label_dtype)
    results = sorted(
        run_parallel(check, pairs, workers, f"checking {dataset.name}"), key=lambda r: r.stem
    )
    findings += group_problems(results)
    ids = {result.stem: result.ids for result in results if result.ids}
    num_classes = len(load_vocabulary(dataset.word_list))
    findings += find_wrong_ids(ids, num_classes, dataset.ignore_label, dataset.word_list)
    notes = []
    lists = presence_lists(root, dataset.word_list)
    if lists is not None:
        present = read_presence(lists)
        if present:
            findings += class_agreement(ids, present, dataset.word_list)
        else:
            notes.append(
                f"the order of classes is not checked, because {lists} lacks the lists of VOC's "
                f"classes; they are in {where_to_get(dataset.name, 'images')}"
            )
    return DatasetCheck(dataset.name, len(both), True, tuple(findings), tuple(notes))


def _renamed(folder: Path, suffix: str, stems: Sequence[str]) -> str:
    """A clause about a file that differs from a missing one in its ending or its letters' case."""
    for stem in stems[:_LOOKED_FOR]:
        missing = folder / f"{stem}{suffix}"
        if not missing.parent.is_dir():
            continue
        for path in missing.parent.iterdir():
            if path.name.partition(".")[0].lower() == missing.name.partition(".")[0].lower():
                return f" (there is {printable(path.name)} instead of {printable(missing.name)})"
    return ""
