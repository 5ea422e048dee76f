r"""Make the files of Context-59 and Context-60 from VOC 2010 and PASCAL in Detail.

Examples:
    python datasets/prepare_context.py --archives downloads
    python datasets/prepare_context.py --root data --archives downloads --splits val train

The archives are VOCtrainval_03-May-2010.tar and trainval_merged.json. What lies unpacked below the
root is not needed again. An interrupted command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_context
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_context, __doc__, argv, splits=("val", "train"))


if __name__ == "__main__":
    sys.exit(main())
