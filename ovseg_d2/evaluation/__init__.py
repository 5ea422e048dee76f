"""Evaluation: segmentation by detectron2's numbers, whole images by others, all in one file."""

from .classification import ClassificationEvaluator
from .linear_probe import LinearProbeEvaluator
from .results import numbers_of, read_results, write_results
from .retrieval import RetrievalEvaluator
from .sem_seg import OVSegSemSegEvaluator

__all__ = [
    "ClassificationEvaluator",
    "LinearProbeEvaluator",
    "OVSegSemSegEvaluator",
    "RetrievalEvaluator",
    "numbers_of",
    "read_results",
    "write_results",
]
