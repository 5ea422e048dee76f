"""Catalogs and the test loader; transforms and samplers have separate modules."""

from .. import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from ..standin.data import *
else:
    from detectron2.data import (
        DatasetCatalog,
        Metadata,
        MetadataCatalog,
        build_detection_test_loader,
    )
