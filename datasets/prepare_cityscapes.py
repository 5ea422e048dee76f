r"""Make the files of Cityscapes from leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip.

Examples:
    python datasets/prepare_cityscapes.py --archives downloads
    python datasets/prepare_cityscapes.py --root data --archives downloads --splits val train

What is unpacked below the root (cityscapes/leftImg8bit, cityscapes/gtFine) is not needed again. An
interrupted command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_cityscapes
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_cityscapes, __doc__, argv, splits=("val", "train"))


if __name__ == "__main__":
    sys.exit(main())
