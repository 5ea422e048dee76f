"""Making the benchmarks' files from the archives that their owners publish, and checking them."""

from .context import prepare_context, prepare_context459
from .preparation import PreparationReport
from .voc import prepare_voc

__all__ = ["PreparationReport", "prepare_context", "prepare_context459", "prepare_voc"]
