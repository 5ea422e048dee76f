"""Running a model over a dataset, and the metrics of semantic segmentation."""

from . import HAS_DETECTRON2

if HAS_DETECTRON2:
    from detectron2.evaluation import (
        DatasetEvaluator,
        SemSegEvaluator,
        inference_on_dataset,
        verify_results,
    )
else:
    from .standin.evaluation import *
