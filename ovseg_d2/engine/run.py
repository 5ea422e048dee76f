"""One job from a config: train, resume or evaluate."""

import argparse
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..config import check_device, load_config
from ..d2.config import CfgNode
from ..d2.engine import default_setup
from ..d2.evaluation import verify_results
from ..d2.utils import comm
from ..data.loaders import load_dataset_dicts
from ..evaluation import numbers_of, read_results
from ..files import clear_leftovers, write_atomically
from ..plugin import build_model
from .checkpointing import Checkpointer
from .evaluate import evaluate
from .logs import set_up_logs
from .trainer import Trainer
from .untrained import RANDOM, add_note, check_trained, weights_file

__all__ = [
    "check_job",
    "check_output_dir",
    "check_weights",
    "evaluate_config",
    "run_job",
    "set_up",
]


def check_job(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse what would fail only later, when models are built, datasets read or hours spent.

    Args:
        cfg: of the job.
        args: ``eval_only`` and ``resume`` of detectron2's argument parser.

    Raises:
        ValueError: a device that is not there or not supported, or that has no mixed precision, a
            dataset that is unknown or empty, or a training from weights called "random".
        FileNotFoundError: a weight file that is not there.
        WriteError: ``OUTPUT_DIR`` cannot be written.
    """
    kind = torch.device(cfg.MODEL.DEVICE).type
    if cfg.SOLVER.AMP.ENABLED and not args.eval_only and kind not in ("cuda", "cpu"):
        raise ValueError(
            f"SOLVER.AMP.ENABLED True needs CUDA or a CPU, but MODEL.DEVICE is "
            f"{cfg.MODEL.DEVICE!r}; set it to False"
        )
    check_device(cfg.MODEL.DEVICE)
    if not (args.resume and (Path(cfg.OUTPUT_DIR) / "last_checkpoint").is_file()):
        check_weights(cfg)
    if cfg.MODEL.WEIGHTS == RANDOM and not args.eval_only:
        raise ValueError(
            "MODEL.WEIGHTS is random, which is for answers without a training; leave it empty to "
            "train from random weights"
        )
    if args.eval_only and not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty; name at least one dataset to evaluate on")
    if not args.eval_only:
        load_dataset_dicts(cfg.DATASETS.TRAIN)
    for name in cfg.DATASETS.TEST:
        load_dataset_dicts([name])
    check_output_dir(cfg.OUTPUT_DIR)


def check_weights(cfg: CfgNode) -> None:
    """Refuse missing weight files before anything is built or written.

    Raises:
        FileNotFoundError: ``MODEL.WEIGHTS`` or, of an OVSeg, ``MODEL.OVSEG.CLIP_WEIGHTS`` names a
            file that does not exist.
    """
    weights = weights_file(cfg)
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


def check_output_dir(folder: str | os.PathLike[str]) -> None:
    """Make a folder, try to write there, and remove what killed runs were writing there.

    Raises:
        WriteError: it cannot be made or written; the sentence names it.
    """
    clear_leftovers(folder)
    probe = Path(folder) / f".writable.{os.getpid()}"  # every process of a job tries
    with write_atomically(probe) as file:
        file.write(b"")
    probe.unlink(missing_ok=True)  # on a shared disk, another machine's process of that number may


def set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Freeze the config, make ``OUTPUT_DIR``, start logs, seed.

    Raises:
        WriteError: ``OUTPUT_DIR`` cannot be made or written; the sentence names it.
    """
    cfg.freeze()
    if comm.is_main_process():
        check_output_dir(cfg.OUTPUT_DIR)
    comm.synchronize()
    set_up_logs(cfg.OUTPUT_DIR)
    default_setup(cfg, args)


def run_job(cfg: CfgNode, args: argparse.Namespace) -> Any:
    """Do what the command line asks for.

    Args:
        cfg: from :func:`~ovseg_d2.config.load_config`.
        args: ``eval_only`` and ``resume`` of detectron2's argument parser.

    Returns:
        The results of an evaluation, or what :meth:`Trainer.train` gives.

    Raises:
        ValueError, OSError: see :func:`check_job` and :class:`~.checkpointing.Checkpointer`.
    """
    check_job(cfg, args)
    if args.eval_only:
        with _former_config(cfg.OUTPUT_DIR):
            set_up(cfg, args)
            model = Trainer.build_model(cfg)
            checkpointer = Checkpointer(model, save_dir=cfg.OUTPUT_DIR)
            going_on = args.resume and checkpointer.has_checkpoint()
            note = "" if going_on else check_trained(cfg, model)
            checkpointer.resume_or_load(weights_file(cfg), resume=args.resume)
        results = Trainer.test(cfg, model)
        if comm.is_main_process():
            add_note(cfg, note)
            verify_results(cfg, results)
        return results
    with _former_config(cfg.OUTPUT_DIR):
        set_up(cfg, args)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
    return trainer.train()


@contextmanager
def _former_config(folder: str) -> Iterator[None]:
    """Put the former ``config.yaml`` of a folder back where a job fails before it does anything.

    The file then still describes the checkpoints and results that lie beside it.
    """
    path = Path(folder) / "config.yaml"
    former = path.read_bytes() if path.is_file() else None
    try:
        yield
    except BaseException:
        if former is not None and comm.is_main_process():
            with write_atomically(path) as file:
                file.write(former)
        raise


def evaluate_config(config_file: str, opts: Sequence[str]) -> dict[str, Any]:
    """Evaluate in this process, without the logs and seeds of a whole job.

    Args:
        config_file: as of :func:`~ovseg_d2.config.load_config`.
        opts: likewise.

    Returns:
        The numbers that ``results.json`` holds of the test datasets, see
        :func:`~ovseg_d2.evaluation.numbers_of`.
    """
    cfg = load_config(config_file, opts)
    cfg.freeze()
    check_weights(cfg)
    model = build_model(cfg)
    note = check_trained(cfg, model)
    Checkpointer(model).load(weights_file(cfg))
    evaluate(cfg, model)
    add_note(cfg, note)
    return numbers_of(read_results(cfg.OUTPUT_DIR), cfg.DATASETS.TEST)
