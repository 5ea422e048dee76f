"""Results are compared with expectations."""

import logging
import pprint
import sys
from collections.abc import Mapping

import numpy as np

from ..config import CfgNode

__all__ = ["verify_results"]

_logger = logging.getLogger("detectron2.evaluation.testing")


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
