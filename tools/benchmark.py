"""Compute the tables of docs/results.md, and measure speed.

Examples:
    python tools/benchmark.py claims maskclip
    python tools/benchmark.py claims maskclip --split dev --json maskclip.json
    python tools/benchmark.py claims corruptions --plot corruptions.png
    python tools/benchmark.py claims pixelclip --output results
    python tools/benchmark.py claims pixelclip --run --rows shapes --opts SOLVER.AMP.ENABLED True
    python tools/benchmark.py speed

Finished jobs of claims are kept under output/claims, so that the same command completes an
interrupted table. If trainings of a table are missing, they and their duration are listed, and
--run trains them; evaluations take minutes and run at once. --opts comes last: all that follows it
is config keys and values. Speed prints ratios of two ways to the same result, measured in turns in
one run.
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
    commands.add_parser("speed", help="time two ways to the same result")
    args = parser.parse_args(argv)
    if args.command == "claims":
        from claims import CLAIMS

        from ovseg_d2.engine.cli import refuse_misplaced_options

        refuse_misplaced_options(claims, args.opts)
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; ends with a sentence and exit code 1 on bad input.

    Args:
        argv: the command line; None takes the program's own.
    """
    args = parse_args(argv)

    from claims.speed import measure_ratios

    from ovseg_d2.engine.cli import sentence_for_bad_input

    with sentence_for_bad_input(GO_ON):
        if args.command == "claims":
            run_claims(args)
        else:
            print(measure_ratios())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the work has begun
        print("interrupted; run the command again", file=sys.stderr)
        sys.exit(130)
