"""Making the benchmarks' files from the archives that their owners publish, and checking them."""

from .preparation import PreparationReport
from .voc import prepare_voc

__all__ = ["PreparationReport", "prepare_voc"]
