"""The Shapes world, version 1: an embedded laboratory for open-vocabulary segmentation.

Procedural images of coloured shapes on textured grounds, with captions, labels and regions; all are
pure functions of (split, seed, index). Nothing is downloaded or written.
"""

from .captions import write_captions, write_negatives
from .classes import CLASS_SETS, CLASSES, GROUNDS, IGNORE_LABEL, NUM_OBJECT_CLASSES, article
from .scene import IMAGE_SIZE, SPLITS, Scene, SceneObject, render_scene
from .views import (
    crop_name,
    format_name,
    is_shapes_name,
    parse_name,
    read_captions,
    read_crop,
    read_image,
    read_labels,
    read_regions,
)
from .words import unknown_words

__all__ = [
    "CLASSES",
    "CLASS_SETS",
    "GROUNDS",
    "IGNORE_LABEL",
    "NUM_OBJECT_CLASSES",
    "IMAGE_SIZE",
    "SPLITS",
    "Scene",
    "SceneObject",
    "article",
    "crop_name",
    "format_name",
    "is_shapes_name",
    "parse_name",
    "read_captions",
    "read_crop",
    "read_image",
    "read_labels",
    "read_regions",
    "render_scene",
    "unknown_words",
    "write_captions",
    "write_negatives",
]
