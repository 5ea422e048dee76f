"""Open-vocabulary semantic segmentation on Detectron2, or without it.

Importing registers the plugin: meta-architectures, heads and backbones in detectron2's registries,
datasets in its catalogs. Nothing is read, downloaded or seeded.
"""

from . import plugin
from .config import add_ovseg_config, load_config
from .data.datasets import register_datasets

__version__ = "0.1.0"

__all__ = ["__version__", "add_ovseg_config", "load_config", "plugin"]

register_datasets()
