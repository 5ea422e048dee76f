r"""Make the files of COCO-Stuff-171 and COCO-Object from COCO 2017 and COCO-Stuff.

Examples:
    python datasets/prepare_coco.py --archives downloads
    python datasets/prepare_coco.py --root data --archives downloads --splits val train

The archives are val2017.zip and stuffthingmaps_trainval2017.zip, and train2017.zip for the training
sets. What is unpacked below the root (coco/val2017, coco/stuffthingmaps/val2017) is not needed
again. An interrupted command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_coco
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_coco, __doc__, argv, splits=("val", "train"))


if __name__ == "__main__":
    sys.exit(main())
