"""``results.json``: one file of numbers for every evaluation of a run."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import write_atomically
from ..json_files import read_json

__all__ = [
    "AMBIGUOUS_FILE",
    "CLASSES_FILE",
    "RESULTS_FILE",
    "numbers_of",
    "read_results",
    "write_results",
]

RESULTS_FILE = "results.json"
CLASSES_FILE = "results_classes.json"  # numbers of single classes
AMBIGUOUS_FILE = "results_ambiguous.json"  # pairs of classes that were forgiven
_MAX_FILE = 2**28  # bytes


def read_results(
    output_dir: str | Path, file_name: str = RESULTS_FILE
) -> dict[str, dict[str, Any]]:
    """Read a folder's results file: dataset name -> numbers; empty without a file.

    Raises:
        ValueError: the file has another form.
    """
    path = Path(output_dir) / file_name
    if not path.is_file():
        return {}
    try:
        results = read_json(path, max_bytes=_MAX_FILE)
    except ValueError as error:
        raise _not_results(path, str(error)) from error
    if not isinstance(results, dict):
        raise _not_results(path, f"it holds a {type(results).__name__}")
    if not all(isinstance(numbers, dict) for numbers in results.values()):
        raise _not_results(path, "an entry of it is no object")
    return results


def numbers_of(results: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Numbers of some datasets of a results file as one mapping.

    Args:
        results: from `read_results`.
        names: at least one dataset of ``results``.

    Returns:
        Number -> value for a single dataset; for several, ``<dataset>/<number>`` -> value.
    """
    if len(names) == 1:
        return dict(results[names[0]])
    return {f"{name}/{key}": value for name in names for key, value in results[name].items()}


def _not_results(path: Path, problem: str) -> ValueError:
    return ValueError(f"{path} is no results file ({problem}); move it away or correct it")


def write_results(
    output_dir: str | Path,
    results: Mapping[str, Mapping[str, Any]],
    file_name: str = RESULTS_FILE,
) -> Path:
    """Add evaluations to a folder's results file.

    Args:
        output_dir: folder of the file.
        results: dataset name -> numbers. Numbers of other datasets in the file stay; numbers that
            do not exist (a class set without pixels) are written as null.
        file_name: name of the file.

    Returns:
        The file's path.

    Raises:
        ValueError: an existing file has another form; it stays unchanged.
        WriteError: the file cannot be written; an existing one stays.
    """
    merged = read_results(output_dir, file_name)
    for name, numbers in results.items():
        merged[name] = {key: _plain(value) for key, value in numbers.items()}
    path = Path(output_dir) / file_name
    with write_atomically(path, "w") as file:
        json.dump(merged, file, indent=2)
        file.write("\n")
    return path


def _plain(value: Any) -> Any:
    """Convert a number to one that JSON can hold."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
