"""Datasets in detectron2's catalogs, under names that start with ``ovseg_``."""

from .benchmarks import BENCHMARKS, register_benchmarks
from .captions import CAPTION_SETS, caption_dicts, register_captions
from .pairs import is_pair_file, pair_dicts, register_pairs
from .sa1b import register_sa1b
from .shapes import SHAPES_SIZES, register_shapes, shapes_dataset_name

__all__ = [
    "BENCHMARKS",
    "CAPTION_SETS",
    "SHAPES_SIZES",
    "caption_dicts",
    "is_pair_file",
    "pair_dicts",
    "register_benchmarks",
    "register_captions",
    "register_datasets",
    "register_pairs",
    "register_sa1b",
    "register_shapes",
    "shapes_dataset_name",
]


def register_datasets() -> None:
    """Register every dataset of the plugin; a dataset is read when it is used."""
    register_shapes()
    register_benchmarks()
    register_sa1b()
    register_pairs()
    register_captions()
