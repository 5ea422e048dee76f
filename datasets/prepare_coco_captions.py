r"""Make the captions of COCO in Karpathy's splits from caption_datasets.zip and COCO 2014.

Examples:
    python datasets/prepare_coco_captions.py --archives downloads
    python datasets/prepare_coco_captions.py --root data --archives downloads --splits test train

The archives are caption_datasets.zip and val2014.zip, and train2014.zip for the training set. What
is unpacked below the root (coco/annotations/dataset_coco.json, coco/val2014) is not needed again.
An interrupted command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_coco_captions
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_coco_captions, __doc__, argv, splits=("test", "val", "train"))


if __name__ == "__main__":
    sys.exit(main())
