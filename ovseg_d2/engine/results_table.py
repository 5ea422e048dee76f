"""The table that an evaluation logs; the results files hold all numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from ..evaluation import plain_key
from .lambda_sweep import lambda_key

__all__ = ["class_numbers", "main_numbers", "results_table"]

# Beginnings of the keys of class sets, whose names may contain hyphens.
_CLASS_SETS = ("mIoU_", "pAcc_", "class_accuracy_")
# Mean over classes -> beginning of the keys of single classes.
_CLASS_KEYS = {"mIoU": "IoU-", "class_accuracy": "accuracy-"}
_SHOWN = 5  # of the best classes, and of the worst


def main_numbers(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the numbers of single classes (keys with "-"), and keep those of class sets."""
    return {k: value for k, value in numbers.items() if "-" not in k or k.startswith(_CLASS_SETS)}


def class_numbers(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of single classes."""
    return {key: value for key, value in numbers.items() if key not in main_numbers(numbers)}


def results_table(
    dataset_name: str,
    method: str,
    numbers: Mapping[str, Any],
    *,
    lam: float | None = None,
    lams: Sequence[float] = (),
    class_sets: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """Format the numbers of a task as text.

    Args:
        dataset_name: of the test set.
        method: the evaluated method.
        numbers: name -> value, including single classes and the lambdas of a sweep.
        lam: lambda of the numbers without a lambda in their name; None if there is none.
        lams: lambdas of a sweep (:func:`~.lambda_sweep.lambda_key`).
        class_sets: of the dataset.

    Returns:
        A line with dataset and method, a table with a row for each number and a column for each
        lambda, and the best and worst classes. Numbers as papers count them have a row where they
        differ from the plain ones.
    """
    main = main_numbers(numbers)
    swept = {lambda_key(key, value) for key in main for value in lams}
    seconds = main.pop("seconds", None)
    images = main.pop("images", None)
    head = [f"dataset {dataset_name}", f"method {method}"]
    head += [] if images is None else [f"{images} images"]
    head += [] if seconds is None else [f"{seconds:.0f} s"]
    first = "value" if lam is None else f"lambda {lam:g}"
    columns = [first, *(f"lambda {value:g}" for value in lams)]
    rows = [
        [
            key + (" (of one class)" if _is_of_one_class(key, numbers, class_sets or {}) else ""),
            _text(number),
            *(_text(main.get(lambda_key(key, value))) for value in lams),
        ]
        for key, number in main.items()
        if key not in swept and not _is_repeated(key, main, lams)
    ]
    align = ("left", *["right"] * len(columns))
    table = tabulate(
        rows, headers=["", *columns], tablefmt="github", disable_numparse=True, colalign=align
    )
    return "\n".join([", ".join(head), table, *_extremes(numbers)])


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_repeated(key: str, main: Mapping[str, Any], lams: Sequence[float]) -> bool:
    """Whether a number as a paper counts it has no plain one, or equals it in all columns."""
    plain = plain_key(key)
    if plain is None:
        return False
    columns = [(key, plain), *((lambda_key(key, lam), lambda_key(plain, lam)) for lam in lams)]
    return plain not in main or all(_text(main.get(a)) == _text(main.get(b)) for a, b in columns)


def _values_of_classes(numbers: Mapping[str, Any], prefix: str) -> dict[str, float]:
    return {
        key.removeprefix(prefix): float(value)
        for key, value in numbers.items()
        if key.startswith(prefix)
    }


def _is_of_one_class(
    key: str, numbers: Mapping[str, Any], class_sets: Mapping[str, Sequence[int]]
) -> bool:
    """Whether a mean over classes has the number of a single class."""
    for measure, prefix in _CLASS_KEYS.items():
        values = list(_values_of_classes(numbers, prefix).values())
        name = key.removesuffix("_own_words").removesuffix("_own_pixels")
        if name != measure:
            ids = class_sets.get(name.removeprefix(f"{measure}_"))
            if (
                ids is None
                or not name.startswith(f"{measure}_")
                or max(ids, default=0) >= len(values)
            ):
                continue
            values = [values[index] for index in ids]
        if sum(map(math.isfinite, values)) == 1:
            return True
    return False


def _extremes(numbers: Mapping[str, Any]) -> list[str]:
    for measure, prefix in _CLASS_KEYS.items():
        values = _values_of_classes(numbers, prefix)
        if not values or measure not in numbers:
            continue
        known = [name for name in values if math.isfinite(values[name])]
        ranked = sorted(known, key=lambda name: -values[name])
        shown = [f"{name} {values[name]:.1f}" for name in ranked]
        label = prefix.removesuffix("-")
        if len(shown) <= 2 * _SHOWN:
            return [f"{label} of classes: {', '.join(shown)}"] if shown else []
        return [
            f"{label} of the best classes: {', '.join(shown[:_SHOWN])}",
            f"{label} of the worst classes: {', '.join(shown[: -_SHOWN - 1 : -1])}",
        ]
    return []
