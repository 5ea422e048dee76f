"""Checkpoints in detectron2's layout: weights under "model", and other entries."""

import os
from pathlib import Path
from typing import Any

from .reading import read_weight_file
from .state import find_weights

__all__ = ["read_checkpoint", "read_last_checkpoint"]

_LONGEST_NAME = 4096  # bytes


def read_checkpoint(path: str | os.PathLike[str], *, values: bool = True) -> dict[str, Any]:
    """Read a checkpoint, with its weights under any of the entries of `find_weights`.

    Args:
        path: the file.
        values: False leaves the values of tensors unread, see `read_weight_file`.

    Returns:
        The entries of the file, with the state dict under "model".

    Raises:
        FileNotFoundError: the file does not exist.
        WeightFileError: it holds no usable weights.
    """
    weights, others = find_weights(read_weight_file(path, values=values), path)
    return {**others, "model": weights}


def read_last_checkpoint(folder: str | os.PathLike[str]) -> str:
    """Read the path of a folder's last checkpoint.

    Args:
        folder: contains a file ``last_checkpoint`` with the name.

    Returns:
        Path of the checkpoint; "" if there is no ``last_checkpoint``.

    Raises:
        ValueError: the name is not that of a file in the folder.
    """
    path = Path(folder) / "last_checkpoint"
    try:
        with path.open("rb") as file:
            name = file.read(_LONGEST_NAME).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return ""
    if name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise ValueError(
            f"{path} names {name[:100]!r}, which is not a file name; write the name of a "
            "checkpoint in its folder into it, or start anew without --resume"
        )
    return os.path.join(folder, name)
