"""Compute the tables of docs/results.md and those of the papers, and measure speed.

Examples:
    python tools/benchmark.py claims maskclip
    python tools/benchmark.py claims maskclip --split dev --json maskclip.json
    python tools/benchmark.py claims corruptions --plot corruptions.png
    python tools/benchmark.py claims pixelclip --output results
    python tools/benchmark.py claims pixelclip --run --rows shapes --opts SOLVER.AMP.ENABLED True
    python tools/benchmark.py paper maskclip --datasets voc20 context59
    python tools/benchmark.py paper ovseg --weights weights --csv ovseg.csv --json ovseg.json
    python tools/benchmark.py speed

Finished jobs of claims are kept under output/claims, those of papers under output/paper_tables, so
that the same command completes an interrupted table. If trainings of a table are missing, they and
their duration are listed, and --run trains them; evaluations take minutes and run at once. --opts
comes last: all that follows it is config keys and values. Speed prints ratios of two ways to the
same result, measured in turns in one run.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

# detectron2 and fvcore compile small functions when they are imported.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
# Names of ``claims.CLAIMS``.
METHODS = (
    "corruptions",
    "mask_adapted_clip",
    "maskclip",
    "maskclip_plus",
    "masked_distill_clip",
    "ovseg",
    "ovseg_lambda",
    "ovseg_oracles",
    "pixelclip",
    "pixelclip_ablations",
)
# Methods of ``paper/rows.tsv``.
PAPERS = (
    "clearclip",
    "maskclip",
    "maskclip_corruptions",
    "maskclip_plus",
    "masked_distill_clip",
    "naclip",
    "ovseg",
    "ovseg_adapt",
    "pixelclip",
    "sclip",
)
GO_ON = "run the command again: it keeps the jobs that are finished"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv: None takes the program's own.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    claims = commands.add_parser("claims", help="run the jobs behind a results table")
    claims.add_argument("method", choices=METHODS)
    claims.add_argument("--run", action="store_true", help="also train if results are missing")
    claims.add_argument("--seeds", type=int, default=3, help="trainings per row (default: 3)")
    claims.add_argument("--split", choices=("dev", "val"), default="val")
    claims.add_argument("--json", help="write the numbers to this file")
    claims.add_argument("--plot", help="draw the curves of a claim into this PNG")
    claims.add_argument("--output", default="output/claims", help="keeps finished jobs")
    claims.add_argument(
        "--rows",
        action="append",
        help="only the row of this name, or rows whose names contain it; may repeat",
    )
    claims.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="config keys and values of every job"
    )
    paper = commands.add_parser(
        "paper",
        help="a paper's table: published and measured numbers; what is not on disk is a dash, and "
        "lines below the table say what to get",
    )
    paper.add_argument("method", choices=PAPERS)
    paper.add_argument(
        "--datasets", nargs="+", default=[], help="only these, such as voc20 or ovseg_voc20_val"
    )
    paper.add_argument(
        "--rows",
        action="append",
        default=[],
        help="only the row of this name, or rows whose names contain it; may repeat",
    )
    paper.add_argument(
        "--weights",
        default="weights",
        help="folder of the released files, see docs/model_zoo.md (default: weights)",
    )
    paper.add_argument("--output", default="output/paper_tables", help="keeps finished jobs")
    paper.add_argument("--csv", help="write all fields to this file")
    paper.add_argument("--json", help="write all fields to this file")
    paper.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="config keys and values of every row"
    )
    commands.add_parser("speed", help="time two ways to the same result")
    args = parser.parse_args(argv)
    if args.command == "speed":
        return args
    from ovseg_d2.engine.cli import refuse_misplaced_options

    refuse_misplaced_options({"claims": claims, "paper": paper}[args.command], args.opts)
    if args.command == "claims":
        from claims import CLAIMS

        if args.plot and CLAIMS[args.method]().curves is None:
            claims.error(f"--plot {args.plot}: claim {args.method} has no curves; leave it out")
    return args


def run_claims(args: argparse.Namespace) -> None:
    """Run a method's jobs and print its table."""
    from claims import CLAIMS, JobError, describe_trainings, format_table, run_jobs

    from ovseg_d2.files import write_atomically
    from ovseg_d2.viz import plot_curves

    claim = CLAIMS[args.method](split=args.split, seeds=args.seeds)
    try:
        claim = claim.narrowed(args.rows or (), args.opts)
    except ValueError as error:
        sys.exit(f"error: {error}")
    trainings = "" if args.run else describe_trainings(claim.jobs, Path(args.output))
    if trainings:
        sys.exit(f"{trainings}; add --run to train, or choose rows that are kept (--rows)")
    try:
        numbers = run_jobs(claim.jobs, Path(args.output))
    except JobError as error:
        sys.exit(f"error: {error}")
    print(f"\n{claim.title}\n\n{format_table(claim, numbers)}\n")
    for job in claim.jobs:
        print(f"{job.row}:\n  {job.command}")
    if args.plot:
        plot_curves(args.plot, claim.panels(numbers), x_label=claim.x_label, title=claim.title)
    if args.json:
        rows = [
            {"row": job.row, "seed": job.seed, "command": job.command, **job_numbers}
            for job, job_numbers in zip(claim.jobs, numbers, strict=True)
        ]
        with write_atomically(args.json, "w") as file:
            json.dump(rows, file, indent=2)


def run_paper(args: argparse.Namespace) -> None:
    """Evaluate the rows of a paper's table that can be, and print it."""
    from paper import choose_rows, format_cells, measure, write_cells
    from tqdm import tqdm

    try:
        rows = choose_rows(args.method, args.rows, args.datasets)
    except ValueError as error:
        sys.exit(f"error: {error}")
    number = sum(len(numbers) for _, numbers in rows)
    measured = measure(rows, Path(args.output), Path(args.weights), args.opts)
    cells = list(tqdm(measured, desc="numbers", total=number))
    print(f"\n{format_cells(cells)}")
    for form in ("csv", "json"):
        if getattr(args, form):
            write_cells(cells, getattr(args, form), form)
    if any(cell.failed for cell in cells):
        sys.exit(1)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; ends with a sentence and exit code 1 on bad input.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from ovseg_d2.engine.cli import sentence_for_bad_input

    with sentence_for_bad_input(GO_ON):
        if args.command == "claims":
            run_claims(args)
        elif args.command == "paper":
            run_paper(args)
        else:
            from claims.speed import measure_ratios

            print(measure_ratios())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
