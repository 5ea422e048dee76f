"""Running a model over a dataset, and the metrics of semantic segmentation."""

from . import HAS_DETECTRON2

if not HAS_DETECTRON2:
    from .standin.evaluation.evaluator import *
    from .standin.evaluation.sem_seg_evaluation import *
    from .standin.evaluation.testing import *
else:
    from detectron2.evaluation import (
        DatasetEvaluator,
        SemSegEvaluator,
        inference_on_dataset,
        verify_results,
    )
