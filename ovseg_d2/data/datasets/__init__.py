"""Datasets in detectron2's catalogs, under names that start with ``ovseg_``."""

from .benchmarks import BENCHMARKS, register_benchmarks
from .pairs import is_pair_file, pair_dicts, register_pairs
from .sa1b import register_sa1b
from .shapes import SHAPES_SIZES, register_shapes, shapes_dataset_name

__all__ = [
    "BENCHMARKS",
    "SHAPES_SIZES",
    "is_pair_file",
    "pair_dicts",
    "register_benchmarks",
    "register_datasets",
    "register_pairs",
    "register_sa1b",
    "register_shapes",
    "shapes_dataset_name",
]


def register_datasets() -> None:
    """Register every dataset of the plugin; nothing is read before one is used."""
    register_shapes()
    register_benchmarks()
    register_sa1b()
    register_pairs()
