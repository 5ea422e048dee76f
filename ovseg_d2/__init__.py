"""Open-vocabulary semantic segmentation on Detectron2, or without it."""

__version__ = "0.1.0"
