"""Refusal of weight files that run code when detectron2's own loader reads them."""

import os

from ..d2 import HAS_DETECTRON2
from ..d2.config import CfgNode
from ..weight_files import check_plain_pickle

__all__ = ["check_pickled_weights"]


def check_pickled_weights(cfg: CfgNode) -> None:
    """Refuse ``MODEL.WEIGHTS`` that hold code.

    detectron2's ``DefaultPredictor`` builds the model and then loads with detectron2's
    checkpointer, which unpickles ``.pkl`` files; `engine.Checkpointer` and the stand-in do not.

    Raises:
        WeightFileError: the file holds code, or cannot be read.
    """
    path = cfg.MODEL.WEIGHTS.partition("?")[0]
    if HAS_DETECTRON2 and path.endswith(".pkl") and os.path.isfile(path):
        check_plain_pickle(path)
