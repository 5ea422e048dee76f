"""Label maps in MATLAB files."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...data.images import DECODE_ERRORS
from ...json_files import printable

__all__ = ["read_context_mat", "read_sbd_mat"]

_MOST = 65535  # largest id


def read_context_mat(path: Path) -> np.ndarray:
    """(H, W) int64 ids of a file of Pascal Context: its ``LabelMap``.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    return _check(path, "LabelMap", _load(path, "LabelMap"))


def read_sbd_mat(path: Path) -> np.ndarray:
    """(H, W) int64 ids of a file of SBD's folder ``cls``: its ``GTcls.Segmentation``.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    struct = _load(path, "GTcls")
    try:
        labels = struct["Segmentation"].item()
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise _wrong(path, f"its GTcls has no Segmentation ({error})") from error
    return _check(path, "GTcls.Segmentation", labels)


def _load(path: Path, name: str) -> Any:
    from scipy.io import loadmat  # scipy loads where it is used
    from scipy.io.matlab import MatReadError

    # scipy uses variables before they are set (NameError) in damaged files.
    damaged = (*DECODE_ERRORS, MatReadError, zlib.error, MemoryError, NameError, AttributeError)
    try:
        return loadmat(path, variable_names=[name])[name]
    except damaged as error:
        raise _wrong(path, f"it is no MATLAB file with a {name} ({error})") from error


def _check(path: Path, name: str, labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    whole = labels.dtype.kind in "iu"
    if labels.dtype.kind == "f":
        whole = bool(((labels >= 0) & (labels <= _MOST)).all())  # not if one is NaN
    if labels.ndim != 2 or not whole:
        shown = f"shape {labels.shape} and dtype {str(labels.dtype)[:60]}"
        raise _wrong(path, f"its {name} has {shown} instead of rows of ids")
    return labels.astype(np.int64)


def _wrong(path: Path, problem: str) -> ValueError:
    return ValueError(f"{printable(path)}: {problem}; unpack it again from its owner's archive")
