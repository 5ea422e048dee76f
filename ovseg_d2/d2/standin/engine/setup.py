"""Setup of a training program.

Stands in for the first part of ``detectron2.engine.defaults``.
"""

import argparse
import os
import platform

import numpy as np
import torch

from ..config import CfgNode
from ..utils import comm
from ..utils.env import seed_all_rng
from ..utils.file_io import PathManager
from ..utils.logger import setup_logger

__all__ = ["default_setup"]


def _describe_environment() -> str:
    """Return lines of the versions and devices that results depend on."""
    lines = [
        f"platform: {platform.platform()}",
        f"python: {platform.python_version()}",
        f"numpy: {np.__version__}",
        f"torch: {torch.__version__} (CUDA {torch.version.cuda})",
        f"threads: {torch.get_num_threads()}",
        "detectron2: not installed, its stand-in is used",
    ]
    for index in range(torch.cuda.device_count()):
        lines.append(f"GPU {index}: {torch.cuda.get_device_name(index)}")
    return "\n".join(lines)


def default_setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Prepare a job: folder, logs, seeds and switches of the backends.

    Makes ``cfg.OUTPUT_DIR``; sets up the loggers "fvcore" and "detectron2"; logs environment,
    arguments and config; writes ``config.yaml``; seeds each process with ``cfg.SEED`` plus its
    rank.

    Args:
        cfg: the full config.
        args: the command line; ``config_file`` and ``eval_only`` are read if present.
    """
    rank = comm.get_rank()
    output_dir = cfg.OUTPUT_DIR
    if comm.is_main_process():
        PathManager.mkdirs(output_dir)
    setup_logger(output_dir, distributed_rank=rank, name="fvcore")
    logger = setup_logger(output_dir, distributed_rank=rank)

    logger.info(f"Rank of current process: {rank}. World size: {comm.get_world_size()}")
    logger.info(f"Environment info:\n{_describe_environment()}")
    logger.info(f"Command line arguments: {args}")
    config_file = getattr(args, "config_file", "")
    if config_file:
        with PathManager.open(config_file, "r") as file:
            logger.info(f"Contents of args.config_file={config_file}:\n{file.read()}")
    if comm.is_main_process():
        logger.info(f"Running with full config:\n{cfg.dump()}")
        path = os.path.join(output_dir, "config.yaml")
        with PathManager.open(path, "w") as file:
            file.write(cfg.dump())
        logger.info(f"Full config saved to {path}")

    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not getattr(args, "eval_only", False):
        # The search for fast algorithms does not pay off in an evaluation.
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    _set_float32_precision(cfg.FLOAT32_PRECISION)


def _set_float32_precision(precision: str) -> None:
    """Choose how exactly CUDA multiplies and convolves float32; "" leaves torch's defaults."""
    if precision and torch.cuda.is_available():
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != "highest"
