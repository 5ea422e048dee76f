r"""Make the files of ADE-847 from ADE20K_2021_17_01.zip.

Examples:
    python datasets/prepare_ade847.py --archives downloads
    python datasets/prepare_ade847.py --root data --archives downloads --splits val train

The archive is not needed if it is unpacked below the root. An interrupted command continues where
it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_ade847
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_ade847, __doc__, argv, splits=("val", "train"))


if __name__ == "__main__":
    sys.exit(main())
