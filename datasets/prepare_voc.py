r"""Make the files of VOC-20 and VOC-21 from VOC 2012 and SegmentationClassAug.

Examples:
    python datasets/prepare_voc.py --archives downloads
    python datasets/prepare_voc.py --root data --archives downloads --splits val train

The archives are VOCtrainval_11-May-2012.tar and SegmentationClassAug.zip. Without the second, the
labels are VOC's own, and for the training sets those of SBD (benchmark.tgz) too. What lies unpacked
below the root is not needed again. An interrupted command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_voc
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_voc, __doc__, argv, splits=("val", "train"))


if __name__ == "__main__":
    sys.exit(main())
