"""``detectron2.evaluation``: running a model over a dataset, and its metrics."""

from .evaluator import DatasetEvaluator, inference_on_dataset
from .sem_seg_evaluation import SemSegEvaluator
from .testing import verify_results

__all__ = [
    "DatasetEvaluator",
    "SemSegEvaluator",
    "inference_on_dataset",
    "verify_results",
]
