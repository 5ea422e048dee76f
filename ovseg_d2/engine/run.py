"""One job from a config: train, resume or evaluate."""

import argparse
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
from ..data.loaders import check_dataset_names, load_dataset_dicts
from ..evaluation import numbers_of, read_results, write_results
from ..files import check_output_dir, write_atomically
from .evaluate import evaluate
from .loading import RANDOM, can_resume, check_weights, load_model
from .logs import set_up_logs
from .trainer import Trainer

__all__ = ["check_job", "evaluate_config", "run_job"]


def check_job(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Check a job's config and files before any expensive work.

    Args:
        cfg: the job's config.
        args: ``eval_only`` and ``resume`` of detectron2's argument parser.

    Raises:
        ValueError: a device that is missing, not supported or without mixed precision, a dataset
            that is unknown or empty, or a training whose ``MODEL.WEIGHTS`` is "random".
        FileNotFoundError: a weight file does not exist.
        WriteError: ``OUTPUT_DIR`` cannot be written.
    """
    kind = torch.device(cfg.MODEL.DEVICE).type
    if cfg.SOLVER.AMP.ENABLED and not args.eval_only and kind not in ("cuda", "cpu"):
        raise ValueError(
            f"SOLVER.AMP.ENABLED True needs CUDA or a CPU, but MODEL.DEVICE is "
            f"{cfg.MODEL.DEVICE!r}; set it to False"
        )
    check_device(cfg.MODEL.DEVICE)
    if not (args.resume and can_resume(cfg)):
        check_weights(cfg)
    if cfg.MODEL.WEIGHTS == RANDOM and not args.eval_only:
        raise ValueError(
            "MODEL.WEIGHTS is random, which is for predictions without a training; leave it empty "
            "to train from random weights"
        )
    if args.eval_only and not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty; name at least one dataset to evaluate on")
    if not args.eval_only:
        load_dataset_dicts(cfg.DATASETS.TRAIN)
    for name in cfg.DATASETS.TEST:
        load_dataset_dicts([name])
    check_dataset_names(cfg.TEST.DATASETS)
    check_output_dir(cfg.OUTPUT_DIR)


def _set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Freeze the config, make ``OUTPUT_DIR``, start logs, seed."""
    cfg.freeze()
    if comm.is_main_process():
        check_output_dir(cfg.OUTPUT_DIR)
    comm.synchronize()
    set_up_logs(cfg.OUTPUT_DIR)
    default_setup(cfg, args)


def run_job(cfg: CfgNode, args: argparse.Namespace) -> Any:
    """Train, resume or evaluate.

    Args:
        cfg: from :func:`~ovseg_d2.config.load_config`.
        args: ``eval_only`` and ``resume`` of detectron2's argument parser.

    Returns:
        The results of an evaluation, or of :meth:`Trainer.train`.

    Raises:
        ValueError, OSError: see :func:`check_job` and :class:`~.checkpointing.Checkpointer`.
    """
    check_job(cfg, args)
    if args.eval_only:
        with _config_kept_on_failure(cfg.OUTPUT_DIR):
            _set_up(cfg, args)
            model, note = load_model(cfg, resume=args.resume, build=Trainer.build_model)
        results = Trainer.test(cfg, model)
        if comm.is_main_process():
            _add_note(cfg, note)
            verify_results(cfg, results)
        return results
    with _config_kept_on_failure(cfg.OUTPUT_DIR):
        _set_up(cfg, args)
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def evaluate_config(config_file: str, opts: Sequence[str]) -> dict[str, Any]:
    """Evaluate in this process, without the logs and seeds of a whole job.

    Args and errors are those of :func:`~ovseg_d2.config.load_config` and
    :func:`~.loading.load_model`.

    Returns:
        The numbers of the test datasets in ``results.json``
        (:func:`~ovseg_d2.evaluation.numbers_of`).
    """
    cfg = load_config(config_file, opts)
    cfg.freeze()
    model, note = load_model(cfg)
    evaluate(cfg, model)
    _add_note(cfg, note)
    return numbers_of(read_results(cfg.OUTPUT_DIR), cfg.DATASETS.TEST)


@contextmanager
def _config_kept_on_failure(folder: str) -> Iterator[None]:
    """Restore a folder's ``config.yaml`` if the block fails, before any training or evaluation.

    The file then still describes the checkpoints and results beside it.
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


def _add_note(cfg: CfgNode, note: str) -> None:
    """Put a note, if not "", beside the numbers of the test datasets in ``results.json``."""
    if note:
        results = read_results(cfg.OUTPUT_DIR)
        noted = {name: {**results[name], "note": note} for name in cfg.DATASETS.TEST}
        write_results(cfg.OUTPUT_DIR, noted)
