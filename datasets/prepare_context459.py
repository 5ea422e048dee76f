r"""Make the files of Context-459 from VOC 2010 and the MATLAB files of Pascal Context.

Examples:
    python datasets/prepare_context459.py --archives downloads
    python datasets/prepare_context459.py --root data --archives downloads --splits val train

The archives are VOCtrainval_03-May-2010.tar, trainval.tar.gz, and trainval_merged.json, which lists
the images of the splits (for val, pascalcontext_val.txt of OVSeg or CAT-Seg will do, too). What
lies unpacked below the root is not needed again. An interrupted command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_context459
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_context459, __doc__, argv, splits=("val", "train"))


if __name__ == "__main__":
    sys.exit(main())
