"""What to do with results: show them, and compare them with expectations."""

import logging
import pprint
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..config import CfgNode

__all__ = ["print_csv_format", "verify_results"]

_logger = logging.getLogger("detectron2.evaluation.testing")


def print_csv_format(results: Mapping[str, Any]) -> None:
    """Log the main metrics as lines that can be copied into a spreadsheet.

    Args:
        results: task -> {metric -> value}. Metrics with a "-" in their name, those of single
            classes, are left out.

    Raises:
        AssertionError: ``results`` is not a mapping and not empty.
    """
    assert isinstance(results, Mapping) or not len(results), (
        f"results must map tasks to metrics, got {results!r}."
    )
    for task, metrics in dict(results).items():
        if not isinstance(metrics, Mapping):
            _logger.info("copypaste: %s=%s", task, metrics)
            continue
        main = {name: value for name, value in metrics.items() if "-" not in name}
        _logger.info("copypaste: Task: %s", task)
        _logger.info("copypaste: %s", ",".join(main))
        _logger.info("copypaste: %s", ",".join(f"{value:.4f}" for value in main.values()))


def verify_results(cfg: CfgNode, results: Mapping[str, Mapping[str, float]]) -> bool:
    """Compare results with ``cfg.TEST.EXPECTED_RESULTS``, and end the program if they differ.

    Args:
        cfg: the expectations are (task, metric, value, tolerance) each; none are always met.
        results: task -> {metric -> value}.

    Returns:
        True.

    Raises:
        SystemExit: with code 1, where a value is missing, not finite or too far off.
    """
    expectations = cfg.TEST.EXPECTED_RESULTS
    if not len(expectations):
        return True
    is_met = [
        abs(results.get(task, {}).get(metric, np.nan) - expected) <= tolerance
        for task, metric, expected, tolerance in expectations
    ]
    if not all(is_met):
        _logger.error("Result verification failed!")
        _logger.error("Expected Results: %s", expectations)
        _logger.error("Actual Results: %s", pprint.pformat(results))
        sys.exit(1)
    _logger.info("Results verification passed.")
    return True
