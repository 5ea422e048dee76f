"""Running a model over a dataset, and semantic segmentation's metrics."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.evaluation import (
        DatasetEvaluator,
        DatasetEvaluators,
        SemSegEvaluator,
        inference_context,
        inference_on_dataset,
        print_csv_format,
        verify_results,
    )
else:
    from .standin.evaluation import (
        DatasetEvaluator,
        DatasetEvaluators,
        SemSegEvaluator,
        inference_context,
        inference_on_dataset,
        print_csv_format,
        verify_results,
    )

__all__ = [
    "DatasetEvaluator",
    "DatasetEvaluators",
    "SemSegEvaluator",
    "inference_context",
    "inference_on_dataset",
    "print_csv_format",
    "verify_results",
]
