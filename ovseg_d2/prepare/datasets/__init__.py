"""Making the benchmarks' files from the archives that their owners publish, and checking them."""

from .ade import prepare_ade150, prepare_ade847
from .captions import prepare_coco_captions, prepare_flickr30k
from .check import DatasetCheck, check_datasets
from .cityscapes import prepare_cityscapes
from .coco import prepare_coco
from .context import prepare_context, prepare_context459
from .preparation import PreparationReport
from .sa1b import prepare_sa1b
from .voc import prepare_voc

__all__ = [
    "DatasetCheck",
    "PreparationReport",
    "check_datasets",
    "prepare_ade150",
    "prepare_ade847",
    "prepare_cityscapes",
    "prepare_coco",
    "prepare_coco_captions",
    "prepare_context",
    "prepare_context459",
    "prepare_flickr30k",
    "prepare_sa1b",
    "prepare_voc",
]
