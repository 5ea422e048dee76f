"""The command line that all of ``datasets/prepare_*.py`` share."""

import argparse
import sys
from collections.abc import Callable, Sequence

from ...engine.cli import sentence_for_bad_input
from .preparation import PreparationReport

__all__ = ["run_preparation"]

_GO_ON = "run the command again: it keeps the files that are made"


def run_preparation(
    prepare: Callable[..., PreparationReport],
    description: str | None,
    argv: Sequence[str] | None,
    *,
    splits: Sequence[str] = ("val",),
) -> int:
    """Run a command that prepares a benchmark; the return value is the exit code.

    Args:
        prepare: such as `prepare_voc`.
        description: of the command, for its help.
        argv: the command line; None takes the program's own.
        splits: parts that the command can make; the first is the default.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="folder of all datasets [$DETECTRON2_DATASETS or datasets]")
    parser.add_argument("--archives", metavar="FOLDER", help="folder of the downloads [the root]")
    if len(splits) > 1:
        parser.add_argument(
            "--splits", nargs="+", choices=splits, default=splits[:1], help=f"[{splits[0]}]"
        )
    parser.add_argument("--workers", type=int, help="number of processes [one for each CPU]")
    parser.add_argument("--overwrite", action="store_true", help="write existing files again")
    options = vars(parser.parse_args(argv))
    with sentence_for_bad_input(_GO_ON):
        report = prepare(options.pop("root"), options.pop("archives"), **options)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    print(f"{report.made} files made, {report.kept} were there")
    if report.problems:
        print(f"{len(report.problems)} problems, above", file=sys.stderr)
    return 1 if report.problems else 0
