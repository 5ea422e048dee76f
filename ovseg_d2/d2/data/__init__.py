"""Catalogs, mapper and loaders of the data; transforms, samplers and readers have own modules."""

from .. import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.data import (
        DatasetCatalog,
        DatasetFromList,
        DatasetMapper,
        MapDataset,
        Metadata,
        MetadataCatalog,
        ToIterableDataset,
        build_batch_data_loader,
        build_detection_test_loader,
        build_detection_train_loader,
        get_detection_dataset_dicts,
    )
    from detectron2.data.build import trivial_batch_collator
else:
    from ..standin.data import (
        DatasetCatalog,
        DatasetFromList,
        DatasetMapper,
        MapDataset,
        Metadata,
        MetadataCatalog,
        ToIterableDataset,
        build_batch_data_loader,
        build_detection_test_loader,
        build_detection_train_loader,
        get_detection_dataset_dicts,
    )
    from ..standin.data.build import trivial_batch_collator

__all__ = [
    "DatasetCatalog",
    "DatasetFromList",
    "DatasetMapper",
    "MapDataset",
    "Metadata",
    "MetadataCatalog",
    "ToIterableDataset",
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "get_detection_dataset_dicts",
    "trivial_batch_collator",
]
