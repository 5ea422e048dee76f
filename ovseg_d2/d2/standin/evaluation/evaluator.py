"""The loop of evaluation: model over loader, outputs to evaluators, time to the log."""

import datetime
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from ..utils.comm import get_world_size
from ..utils.logger import log_every_n_seconds

__all__ = ["DatasetEvaluator", "inference_on_dataset"]

_logger = logging.getLogger("detectron2.evaluation.evaluator")

# The first batches are slow (allocation, kernels chosen) and are left out of the mean times.
_NUM_WARMUP = 5
_SECONDS_BETWEEN_LOGS = 5


class DatasetEvaluator:
    """Takes a model's inputs and outputs batch by batch, and returns results at the end."""

    def reset(self) -> None:
        """Start a new evaluation."""

    def process(self, inputs: list[dict[str, Any]], outputs: list[Any]) -> None:
        """Take one batch.

        Args:
            inputs: inputs of the model.
            outputs: outputs of the model, one for each input.
        """

    def evaluate(self) -> dict[str, Any] | None:
        """End the evaluation.

        Returns:
            task -> {metric -> value}; None in processes other than the main one.
        """


class _Stopwatch:
    """Seconds spent on each part of the loop, from the end of the warm-up on."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.num_warmup = max(min(_NUM_WARMUP, total - 1), 0)
        self.num_done = 0
        self._restart()

    def _restart(self) -> None:
        self.seconds = {"data": 0.0, "compute": 0.0, "eval": 0.0}
        self._start = self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] += now - self._last
        self._last = now

    def end_iteration(self) -> None:
        self.num_done += 1
        if self.num_done == self.num_warmup:
            self._restart()

    @property
    def num_timed(self) -> int:
        is_warm = self.num_done > self.num_warmup
        return max(self.num_done - self.num_warmup if is_warm else self.num_done, 1)

    def log_progress(self) -> None:
        per_iteration = {part: spent / self.num_timed for part, spent in self.seconds.items()}
        # Too soon after the warm-up the estimate is poor, except where it is all that there is.
        if self.num_done <= 2 * self.num_warmup and per_iteration["compute"] <= 5:
            return
        overall = (time.perf_counter() - self._start) / self.num_timed
        remaining = datetime.timedelta(seconds=int(overall * (self.total - self.num_done)))
        log_every_n_seconds(
            logging.INFO,
            f"Inference done {self.num_done}/{self.total}. "
            f"Dataloading: {per_iteration['data']:.4f} s/iter. "
            f"Inference: {per_iteration['compute']:.4f} s/iter. "
            f"Eval: {per_iteration['eval']:.4f} s/iter. "
            f"Total: {overall:.4f} s/iter. ETA={remaining}",
            n=_SECONDS_BETWEEN_LOGS,
            name=_logger.name,
        )

    def log_summary(self) -> None:
        # Before results are gathered, so that waiting for slower processes is not counted.
        for label, seconds in (
            ("time", time.perf_counter() - self._start),
            ("pure compute time", self.seconds["compute"]),
        ):
            _logger.info(
                "Total inference %s: %s (%.6f s / iter per device, on %d devices)",
                label,
                datetime.timedelta(seconds=int(seconds)),
                seconds / self.num_timed,
                get_world_size(),
            )


def inference_on_dataset(
    model: Callable[[Any], Any],
    data_loader: Iterable[Any],
    evaluator: DatasetEvaluator,
) -> dict[str, Any]:
    """Run a model over a dataset, without gradients and in eval mode, and evaluate it.

    Args:
        model: batch -> outputs. The mode of an ``nn.Module`` is restored afterwards.
        data_loader: batches; must have a length.
        evaluator: takes inputs and outputs batch by batch.

    Returns:
        The evaluator's results; ``{}`` in processes to which it gives none.
    """
    total = len(data_loader)  # type: ignore[arg-type]  # a TypeError where it has no length
    _logger.info("Start inference on %d batches", total)
    evaluator.reset()

    in_eval_mode = _inference_context(model) if isinstance(model, nn.Module) else nullcontext()
    with in_eval_mode, torch.no_grad():
        watch = _Stopwatch(total)
        for inputs in data_loader:
            watch.lap("data")
            outputs = model(inputs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            watch.lap("compute")
            evaluator.process(inputs, outputs)
            watch.lap("eval")
            watch.end_iteration()
            watch.log_progress()
        watch.log_summary()

    results = evaluator.evaluate()
    return {} if results is None else results


@contextmanager
def _inference_context(model: nn.Module) -> Iterator[None]:
    """Set a model to eval mode, and restore its mode afterwards, also after an error."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
