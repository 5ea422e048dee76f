"""Datasets in detectron2's catalogs, under names that start with ``ovseg_``."""

from .benchmarks import BENCHMARKS, register_benchmarks
from .sa1b import register_sa1b
from .shapes import SHAPES_SIZES, register_shapes, shapes_dataset_name

__all__ = [
    "BENCHMARKS",
    "SHAPES_SIZES",
    "register_benchmarks",
    "register_datasets",
    "register_sa1b",
    "register_shapes",
    "shapes_dataset_name",
]


def register_datasets() -> None:
    """Register every dataset of the plugin; nothing is read before one is used."""
    register_shapes()
    register_benchmarks()
    register_sa1b()
