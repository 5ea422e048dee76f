"""Files of mask-category pairs as training datasets: by their path, or by a registered name."""

import logging
import os
from pathlib import Path
from typing import Any

from ...d2.data import DatasetCatalog, MetadataCatalog
from ...json_files import printable
from ...masks import read_pairs
from .benchmarks import datasets_root

__all__ = ["PAIR_SETS", "is_pair_file", "pair_dicts", "register_pairs"]

_logger = logging.getLogger(__name__)

# The pairs that [ovseg] mines from COCO's captions, and its two alternatives: name -> folder of
# $DETECTRON2_DATASETS/pairs/<folder>/pairs.jsonl, which tools/mine_pairs.py writes.
PAIR_SETS: dict[str, str] = {
    "ovseg_coco_pairs_1cap": "coco_1cap",
    "ovseg_coco_pairs_5cap": "coco_5cap",
    "ovseg_coco_pairs_gt": "coco_gt",
    "ovseg_coco_pairs_gt_1cap": "coco_gt_1cap",
}


def is_pair_file(name: str) -> bool:
    """Whether a name in DATASETS.TRAIN is the path of a file of pairs."""
    return name.endswith(".jsonl")


def pair_dicts(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """List the pairs of a file; broken lines are left out with a warning.

    Args:
        path: a file from tools/mine_pairs.py.

    Returns:
        Dicts with ``file_name`` and ``pair``, a `MaskPair`.

    Raises:
        PairFileError: the file is missing, or holds no pair.
        FileNotFoundError: the folder of its images is missing.
    """
    file = read_pairs(path)
    if file.left_out.count:
        _logger.warning("%s: %s", printable(path), file.left_out)
    root = file.info.get("image_root")
    if root and not os.path.isdir(root):
        raise FileNotFoundError(
            f"{printable(path)}: the folder {printable(root)} of its images does not exist; "
            "correct 'image_root' in the file's first line"
        )
    return [{"file_name": pair.image, "pair": pair} for pair in file.pairs]


def _set_dicts(name: str) -> list[dict[str, Any]]:
    path: Path = datasets_root() / "pairs" / PAIR_SETS[name] / "pairs.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset {name!r}: there is no {path}; make it with tools/mine_pairs.py --output "
            f"{path.parent}, or set DETECTRON2_DATASETS (now {str(datasets_root())!r})"
        )
    return pair_dicts(path)


def register_pairs() -> None:
    """Register the names of `PAIR_SETS`; a file is read when its dataset is used."""
    for name in PAIR_SETS:
        DatasetCatalog.register(name, lambda name=name: _set_dicts(name))
        MetadataCatalog.get(name).set(evaluator_type="none")
