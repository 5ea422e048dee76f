r"""Make the images and masks of SA-1B from any number of its archives, halved if wished.

Examples:
    python datasets/prepare_sa1b.py --archives downloads
    python datasets/prepare_sa1b.py --root data --archives downloads --halve

sa_000020.tar becomes the folder sa1b/sa_000020. With --halve, images and masks get half the height
and half the width, and the folder of archives may hold unpacked ones. An interrupted command
continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_sa1b
    from ovseg_d2.prepare.datasets.command import run_preparation

    flags = {"halve": "halve images and masks, so that training decodes them faster"}
    return run_preparation(prepare_sa1b, __doc__, argv, splits=("train",), flags=flags)


if __name__ == "__main__":
    sys.exit(main())
