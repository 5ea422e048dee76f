"""Evaluation: detectron2's semantic segmentation numbers, by sets of classes, in one file."""

from .results import read_results, write_results
from .sem_seg import OVSegSemSegEvaluator

__all__ = ["OVSegSemSegEvaluator", "read_results", "write_results"]
