"""Random weights answer only where they are asked for, and every output then says so."""

import logging

from torch import nn

from ..d2.config import CfgNode
from ..evaluation import read_results, write_results

__all__ = ["RANDOM", "RANDOM_NOTE", "add_note", "check_trained", "weights_file"]

_logger = logging.getLogger(__name__)
# The value of MODEL.WEIGHTS and MODEL.CLIP.PRETRAINED that asks for random weights.
RANDOM = "random"
# What overlays, heat maps and JSON files say.
RANDOM_NOTE = "random weights: this answer means nothing"


def weights_file(cfg: CfgNode) -> str:
    """The checkpoint that ``MODEL.WEIGHTS`` names; "" where it is empty or "random"."""
    return "" if cfg.MODEL.WEIGHTS == RANDOM else cfg.MODEL.WEIGHTS


def check_trained(cfg: CfgNode, model: nn.Module) -> str:
    """Refuse a model whose answers would be random and were not asked for by the word.

    It is meant for models about to answer to which nothing but ``MODEL.WEIGHTS`` is loaded. A CLIP
    without weights is refused when it is built, see :func:`~ovseg_d2.clip.load_clip`.

    Args:
        cfg: reads ``MODEL.WEIGHTS`` and ``MODEL.CLIP.PRETRAINED``.
        model: built from it; where random weights are asked for, it is told that it may answer.

    Returns:
        The note that its outputs must show; "" where its weights are trained.

    Raises:
        ValueError: the network that answers has random weights and ``MODEL.WEIGHTS`` is empty; or
            ``MODEL.WEIGHTS`` is "random" and no weights of the model are.
    """
    if weights_file(cfg):
        return ""
    name = type(model).__name__
    needs_weights = getattr(model, "needs_weights", False)
    random_clip = cfg.MODEL.CLIP.PRETRAINED == RANDOM
    if needs_weights and not cfg.MODEL.WEIGHTS:
        raise ValueError(
            f"MODEL.WEIGHTS is empty, and the network of this {name} that answers has random "
            "weights; set it to a checkpoint of its training, or to the word random if the answers "
            "may mean nothing"
        )
    if not needs_weights and not random_clip:
        if cfg.MODEL.WEIGHTS:
            raise ValueError(
                f"MODEL.WEIGHTS is random, but {name} has no network besides its CLIP; leave it "
                "empty, or set MODEL.CLIP.PRETRAINED random"
            )
        return ""
    if needs_weights:
        model.may_answer = True
    _logger.warning(
        "%s has random weights, as was asked for: what this %s answers means nothing; set "
        "MODEL.WEIGHTS to a checkpoint of its training",
        "the network that answers" if needs_weights else "its CLIP",
        name,
    )
    return RANDOM_NOTE


def add_note(cfg: CfgNode, note: str) -> None:
    """Put a note beside the numbers of ``DATASETS.TEST`` in ``OUTPUT_DIR/results.json``.

    Args:
        cfg: of an evaluation that is done.
        note: what :func:`check_trained` gave; "" changes nothing.

    Raises:
        WriteError: the file cannot be written.
    """
    if note:
        results = read_results(cfg.OUTPUT_DIR)
        noted = {name: {**results[name], "note": note} for name in cfg.DATASETS.TEST}
        write_results(cfg.OUTPUT_DIR, noted)
