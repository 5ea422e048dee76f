r"""Make the captions of Flickr30k in Karpathy's splits from caption_datasets.zip.

Examples:
    python datasets/prepare_flickr30k.py --archives downloads
    python datasets/prepare_flickr30k.py --root data --archives downloads --splits test train

The archives are caption_datasets.zip and flickr30k-images.tar.gz. What is unpacked below the root
(flickr30k/dataset_flickr30k.json, flickr30k/flickr30k-images) is not needed again. An interrupted
command continues where it stopped.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the return value is the exit code."""
    from ovseg_d2.prepare.datasets import prepare_flickr30k
    from ovseg_d2.prepare.datasets.command import run_preparation

    return run_preparation(prepare_flickr30k, __doc__, argv, splits=("test", "val", "train"))


if __name__ == "__main__":
    sys.exit(main())
