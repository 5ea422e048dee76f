"""One job from a config: train, resume or evaluate."""

import argparse
import errno
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config import load_config
from ..d2.checkpoint import DetectionCheckpointer
from ..d2.config import CfgNode
from ..d2.engine import default_setup
from ..d2.modeling import build_model
from ..d2.utils import comm
from ..d2.utils.logger import setup_logger
from ..evaluation import read_results
from ..files import write_atomically
from .evaluate import evaluate
from .trainer import Trainer

__all__ = ["check_weights", "evaluate_config", "run_job", "set_up"]

_logger = logging.getLogger(__name__)


def set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Freeze the config, make and try ``OUTPUT_DIR``, start logs, seed.

    Raises:
        OSError: ``OUTPUT_DIR`` cannot be made or written; the sentence names it.
    """
    cfg.freeze()
    if comm.is_main_process():
        probe = Path(cfg.OUTPUT_DIR) / ".writable"
        with write_atomically(probe) as file:
            file.write(b"")
        probe.unlink()
    comm.synchronize()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="ovseg_d2")


def run_job(cfg: CfgNode, args: argparse.Namespace) -> Any:
    """Do what the command line asks for.

    Args:
        cfg: from :func:`~ovseg_d2.config.load_config`.
        args: ``eval_only`` and ``resume`` of detectron2's argument parser.

    Returns:
        The results of an evaluation, or what :meth:`Trainer.train` gives.
    """
    set_up(cfg, args)
    check_weights(cfg)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        checkpointer = DetectionCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
        checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def check_weights(cfg: CfgNode) -> None:
    """Refuse a missing ``MODEL.WEIGHTS`` file before anything is built.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    weights = cfg.MODEL.WEIGHTS
    if weights and "://" not in weights and not os.path.isfile(weights):
        raise FileNotFoundError(
            errno.ENOENT, f"MODEL.WEIGHTS {weights!r} does not exist; give the path of a checkpoint"
        )


def evaluate_config(config_file: str, opts: Sequence[str]) -> dict[str, Any]:
    """Evaluate in this process, without the logs and seeds of a whole job.

    Args:
        config_file: as of :func:`~ovseg_d2.config.load_config`.
        opts: likewise; ``DATASETS.TEST`` names one dataset.

    Returns:
        The numbers that ``results.json`` holds of the dataset.
    """
    cfg = load_config(config_file, opts)
    cfg.freeze()
    check_weights(cfg)
    model = build_model(cfg)
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    evaluate(cfg, model)
    return read_results(cfg.OUTPUT_DIR)[cfg.DATASETS.TEST[0]]
