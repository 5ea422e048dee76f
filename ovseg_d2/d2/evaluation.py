"""Running a model over a dataset, and the metrics of semantic segmentation."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.evaluation import *
else:
    from detectron2.evaluation import (
        DatasetEvaluator,
        SemSegEvaluator,
        inference_on_dataset,
        verify_results,
    )
