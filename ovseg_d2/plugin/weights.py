"""Weights that detectron2's own loader would read by running them, refused before it does."""

import os

from ..d2 import HAS_DETECTRON2
from ..d2.config import CfgNode
from ..weight_files import check_plain_pickle

__all__ = ["check_pickled_weights"]


def check_pickled_weights(cfg: CfgNode) -> None:
    """Refuse ``MODEL.WEIGHTS`` that hold code.

    `engine.Checkpointer` and the stand-in run nothing, but detectron2's ``DefaultPredictor`` loads
    with detectron2's checkpointer, which unpickles files of this ending. It builds the model first,
    so that a meta-architecture can look at the file before.

    Raises:
        WeightFileError: the file holds code, or cannot be read.
    """
    path = cfg.MODEL.WEIGHTS.partition("?")[0]
    if HAS_DETECTRON2 and path.endswith(".pkl") and os.path.isfile(path):
        check_plain_pickle(path)
