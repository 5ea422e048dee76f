"""Seeding (``detectron2.utils.env``)."""

import logging
import os
import random
import secrets

import numpy as np
import torch

__all__ = ["seed_all_rng"]


def seed_all_rng(seed: int | None = None) -> None:
    """Seed python's, numpy's and torch's global generators, on every device.

    Also exports ``PYTHONHASHSEED`` for child processes; this process's own hashes are fixed when
    it starts.

    Args:
        seed: in [0, 2**32). When None a random seed is drawn, and logged.
    """
    if seed is None:
        seed = secrets.randbits(31)
        logging.getLogger("detectron2.utils.env").info(f"Using a generated random seed {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
