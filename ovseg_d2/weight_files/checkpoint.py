"""Checkpoints as detectron2 lays them out: weights under "model", and further entries."""

import os
from pathlib import Path
from typing import Any

from .reading import read_weight_file
from .state import find_weights

__all__ = ["read_checkpoint", "read_last_checkpoint"]

_LONGEST_NAME = 4096  # bytes


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint, whatever its weights are wrapped in.

    Returns:
        The entries of the file, with the state dict under "model".

    Raises:
        FileNotFoundError: there is no such file.
        WeightFileError: it holds no weights that can be used.
    """
    weights, others = find_weights(read_weight_file(path), path)
    return {**others, "model": weights}


def read_last_checkpoint(folder: str | os.PathLike[str]) -> str:
    """Read which checkpoint of a folder is the last.

    Args:
        folder: has a file ``last_checkpoint`` with a name.

    Returns:
        Path of the checkpoint; "" where there is no ``last_checkpoint``.

    Raises:
        ValueError: the name leads out of the folder.
    """
    path = Path(folder) / "last_checkpoint"
    try:
        with path.open("rb") as file:
            name = file.read(_LONGEST_NAME).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
    if name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise ValueError(
            f"{path} names {name[:100]!r}, which is no file of its own folder; write the name of a "
            "checkpoint there into it, or start anew without --resume"
        )
    return os.path.join(folder, name)
