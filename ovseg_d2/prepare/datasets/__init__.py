"""Making the benchmarks' files from the archives that their owners publish, and checking them."""

from .ade import prepare_ade150, prepare_ade847
from .check import DatasetCheck, check_datasets
from .cityscapes import prepare_cityscapes
from .coco import prepare_coco
from .context import prepare_context, prepare_context459
from .preparation import PreparationReport
from .voc import prepare_voc

__all__ = [
    "DatasetCheck",
    "PreparationReport",
    "check_datasets",
    "prepare_ade150",
    "prepare_ade847",
    "prepare_cityscapes",
    "prepare_coco",
    "prepare_context",
    "prepare_context459",
    "prepare_voc",
]
