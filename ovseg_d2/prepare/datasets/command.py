"""The command lines of ``datasets/prepare_*.py`` and ``datasets/check.py``."""

import argparse
import sys
from collections.abc import Callable, Collection, Mapping, Sequence

from ...engine.cli import sentence_for_bad_input
from .check import DatasetCheck, check_datasets
from .owners import datasets_of
from .preparation import PreparationReport

__all__ = ["run_check", "run_preparation"]

_GO_ON = "run the command again: it keeps the files that are made"


def run_preparation(
    prepare: Callable[..., PreparationReport],
    description: str | None,
    argv: Sequence[str] | None,
    *,
    splits: Sequence[str] = ("val",),
    flags: Mapping[str, str] | None = None,
) -> int:
    """Run a command that prepares a dataset; the return value is the exit code.

    Args:
        prepare: such as `prepare_voc`; its name gives the datasets that ``--check`` checks.
        description: of the command, for its help.
        argv: the command line; None takes the program's own.
        splits: parts that the command can make; the first is the default.
        flags: further arguments of `prepare` that are False unless given -> their help.
    """
    parser = _parser(description)
    parser.add_argument("--archives", metavar="FOLDER", help="folder of the downloads [the root]")
    if len(splits) > 1:
        parser.add_argument(
            "--splits", nargs="+", choices=splits, default=splits[:1], help=f"[{splits[0]}]"
        )
    parser.add_argument("--overwrite", action="store_true", help="write existing files again")
    for flag, text in (flags or {}).items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    datasets = datasets_of(prepare.__name__.removeprefix("prepare_"))
    if datasets:
        parser.add_argument(
            "--check", action="store_true", help="check the files that are made, and write nothing"
        )
    options = vars(parser.parse_args(argv))
    if options.pop("check", False):
        parts = options.get("splits", splits)
        names = [name for name in datasets if name.rpartition("_")[2] in parts]
        return _check(names, options["root"], options["workers"])
    with sentence_for_bad_input(_GO_ON):
        report = prepare(options.pop("root"), options.pop("archives"), **options)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    print(f"{report.made} files made, {report.kept} were there")
    if report.problems:
        print(f"{len(report.problems)} problems, above", file=sys.stderr)
    return 1 if report.problems else 0


def run_check(description: str | None, argv: Sequence[str] | None) -> int:
    """Run the command that checks any benchmarks; the return value is the exit code.

    Args:
        description: of the command, for its help.
        argv: the command line; None takes the program's own.
    """
    parser = _parser(description)
    parser.add_argument("datasets", nargs="*", help="registered names [those with labels]")
    args = parser.parse_args(argv)
    return _check(args.datasets, args.root, args.workers)


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="folder of all datasets [$DETECTRON2_DATASETS or datasets]")
    parser.add_argument("--workers", type=int, help="number of processes [one for each CPU]")
    return parser


def _check(names: Collection[str], root: str | None, workers: int | None) -> int:
    """Print a line for each finding; missing datasets count only if they are named."""
    with sentence_for_bad_input("run the command again"):
        checks = check_datasets(names or None, root, workers=workers)
    width = max(len(check.name) for check in checks)
    for check in checks:
        for line in _lines(check):
            print(f"{check.name:<{width}}  {line}")
    return 1 if any(check.findings for check in checks if names or check.is_there) else 0


def _lines(check: DatasetCheck) -> list[str]:
    right = [] if check.findings else [f"{check.num_images} images: nothing found"]
    return [*right, *check.findings, *(f"note: {note}" for note in check.notes)]
