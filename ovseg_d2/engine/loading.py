"""Load a model that is about to predict; random weights predict only where the config asks for it.

Outputs of random weights carry a note that says so.
"""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

from torch import nn

from ..config import check_device
from ..d2.config import CfgNode
from ..plugin import build_model
from ..plugin.weights import held_weights
from .checkpointing import Checkpointer

__all__ = ["RANDOM", "RANDOM_NOTE", "can_resume", "check_trained", "check_weights", "load_model"]

_logger = logging.getLogger(__name__)
# The value of MODEL.WEIGHTS and MODEL.CLIP.PRETRAINED that asks for random weights.
RANDOM = "random"
# The note in overlays, heat maps and JSON files.
RANDOM_NOTE = "random weights: this answer means nothing"


def load_model(
    cfg: CfgNode, *, resume: bool = False, build: Callable[[CfgNode], nn.Module] = build_model
) -> tuple[nn.Module, str]:
    """Check the config's device and weights, build its model and load the weights.

    Args:
        cfg: reads ``MODEL``, and ``OUTPUT_DIR`` when resuming.
        resume: load the last checkpoint in ``OUTPUT_DIR``, if there is one, in place of
            ``MODEL.WEIGHTS``.
        build: builds the model.

    Returns:
        The model in eval mode, and the note that its outputs must show ("" for trained weights).

    Raises:
        ValueError: the device is missing or not supported, the weights do not fit
            (:class:`~.checkpointing.Checkpointer`), or they are random without the config asking
            for it (:func:`check_trained`).
        FileNotFoundError: a weight file does not exist.
    """
    check_device(cfg.MODEL.DEVICE)
    resume = resume and can_resume(cfg)
    if not resume:
        check_weights(cfg)
    model = build(cfg).eval()
    note = "" if resume else check_trained(cfg, model)
    Checkpointer(model, cfg.OUTPUT_DIR).resume_or_load(_weights_file(cfg), resume=resume)
    return model, note


def can_resume(cfg: CfgNode) -> bool:
    """Whether ``OUTPUT_DIR`` names a last checkpoint."""
    return (Path(cfg.OUTPUT_DIR) / "last_checkpoint").is_file()


def check_weights(cfg: CfgNode) -> None:
    """Refuse missing weight files before anything is built or written.

    Raises:
        FileNotFoundError: ``MODEL.WEIGHTS`` or, of an OVSeg, ``MODEL.OVSEG.CLIP_WEIGHTS`` names a
            file that does not exist.
    """
    weights = _weights_file(cfg)
    path = weights.partition("?")[0]  # detectron2 takes a query behind the name
    if weights and "://" not in weights and not os.path.isfile(path):
        raise FileNotFoundError(
            errno.ENOENT, f"MODEL.WEIGHTS {weights!r} does not exist; give the path of a checkpoint"
        )
    adapted = cfg.MODEL.OVSEG.CLIP_WEIGHTS
    if adapted and cfg.MODEL.META_ARCHITECTURE == "OVSeg" and not os.path.isfile(adapted):
        raise FileNotFoundError(
            errno.ENOENT,
            f"MODEL.OVSEG.CLIP_WEIGHTS {adapted!r} does not exist; give the path of a checkpoint "
            "of MaskAdaptedCLIP (configs/ovseg_clip.yaml trains one), or of a converted one",
        )


def check_trained(cfg: CfgNode, model: nn.Module) -> str:
    """Refuse a model with random weights unless the config asks for them by the word "random".

    The model has no weights loaded but those that ``MODEL.WEIGHTS`` will give. A CLIP without
    weights is refused when it is built (:func:`~ovseg_d2.clip.load_clip`).

    Args:
        cfg: reads ``MODEL.WEIGHTS`` and ``MODEL.CLIP.PRETRAINED``.
        model: built from it; ``may_answer`` becomes True where random weights are asked for.

    Returns:
        The note that its outputs must show; "" for trained weights.

    Raises:
        ValueError: the model's network has random weights and ``MODEL.WEIGHTS`` is empty; or
            ``MODEL.WEIGHTS`` is "random" and the model has no random weights.
    """
    name = type(model).__name__
    weights = _weights_file(cfg)
    needs_weights = getattr(model, "needs_weights", False) and not weights
    random_clip = cfg.MODEL.CLIP.PRETRAINED == RANDOM and not _brings_clip(cfg)
    if weights and not random_clip:
        return ""
    if needs_weights and not cfg.MODEL.WEIGHTS:
        raise ValueError(
            f"MODEL.WEIGHTS is empty, and the network of this {name} has random weights; set it "
            "to a checkpoint of its training, or to the word random for meaningless predictions"
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
        "%s of this %s has random weights, as the config asks: its predictions mean nothing; set "
        "MODEL.WEIGHTS to a checkpoint of its training",
        "the network" if needs_weights else "the CLIP",
        name,
    )
    return RANDOM_NOTE


def _brings_clip(cfg: CfgNode) -> bool:
    """Whether a CLIP comes from ``MODEL.WEIGHTS``, or from another key than ``MODEL.CLIP``."""
    if cfg.MODEL.META_ARCHITECTURE == "OVSeg" and cfg.MODEL.OVSEG.CLIP_WEIGHTS:
        return True
    held = held_weights(cfg)
    return held.clip or held.unseen


def _weights_file(cfg: CfgNode) -> str:
    """The checkpoint that ``MODEL.WEIGHTS`` names; "" where it is empty or "random"."""
    return "" if cfg.MODEL.WEIGHTS == RANDOM else cfg.MODEL.WEIGHTS
