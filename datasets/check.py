r"""Check the files of benchmarks: numbers, pairs, sizes, types, and the ids in all label files.

Examples:
    python datasets/check.py
    python datasets/check.py ovseg_voc20_val ovseg_ade150_val --root data

Nothing is written. A line names the benchmark and what was found, with the file to get from its
owner if one is missing. The exit code is 1 if anything was found; benchmarks whose folder of labels
does not exist count only if they are named.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets.command import run_check

    return run_check(__doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
