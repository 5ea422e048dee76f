"""Evaluation of segmentation, masks and whole images; all numbers go to one results file."""

from .classification import ClassificationEvaluator
from .linear_probe import LinearProbeEvaluator
from .mask_crops import MaskCropEvaluator
from .official import plain_key
from .results import AMBIGUOUS_FILE, CLASSES_FILE, numbers_of, read_results, write_results
from .retrieval import RetrievalEvaluator
from .sem_seg import OVSegSemSegEvaluator

__all__ = [
    "AMBIGUOUS_FILE",
    "CLASSES_FILE",
    "ClassificationEvaluator",
    "LinearProbeEvaluator",
    "MaskCropEvaluator",
    "OVSegSemSegEvaluator",
    "RetrievalEvaluator",
    "numbers_of",
    "plain_key",
    "read_results",
    "write_results",
]
