"""Datasets in detectron2's catalogs, under names that start with ``ovseg_``."""

from .shapes import SHAPES_SIZES, register_shapes, shapes_dataset_name

__all__ = ["SHAPES_SIZES", "register_datasets", "register_shapes", "shapes_dataset_name"]


def register_datasets() -> None:
    """Register every dataset of the plugin; nothing is read before one is used."""
    register_shapes()
