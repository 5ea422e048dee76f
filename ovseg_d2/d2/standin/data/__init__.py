"""``detectron2.data``: catalogs and the test loader."""

from .build import build_detection_test_loader
from .catalog import DatasetCatalog, Metadata, MetadataCatalog

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog", "build_detection_test_loader"]
