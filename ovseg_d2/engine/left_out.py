"""Evaluation that leaves out images that do not fit into memory, counts and reports them."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from ..data.loaders import LEFT_OUT
from ..image_errors import ImageTooLargeError, memory_for
from ..plugin.inputs import image_name
from .model_wrapper import ModelWrapper

__all__ = ["LeavingOut", "LeavingOutEvaluator"]

_logger = logging.getLogger(__name__)


class LeavingOut(ModelWrapper):
    """Gives the model's outputs, or a sentence ``left_out`` if memory is too small for an image."""

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The model's outputs or ``left_out``, which inputs left out by the mapper already hold."""
        kept = [entry for entry in batched_inputs if LEFT_OUT not in entry]
        outputs = iter(self._run(kept) if kept else [])
        return [
            {LEFT_OUT: entry[LEFT_OUT]} if LEFT_OUT in entry else next(outputs)
            for entry in batched_inputs
        ]

    def _run(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            with memory_for(image_name(batched_inputs[0])):
                return self.model(batched_inputs)
        except ImageTooLargeError as error:
            if len(batched_inputs) == 1:
                return [{LEFT_OUT: str(error)}]
        return [self._run([entry])[0] for entry in batched_inputs]


class LeavingOutEvaluator(DatasetEvaluator):
    """Counts the images that are left out as ``images_left_out`` and hands on all others."""

    def __init__(self, evaluator: DatasetEvaluator) -> None:
        """Take the evaluator of all other images."""
        self._evaluator = evaluator
        self._num_seen = self._num_left_out = 0

    def reset(self) -> None:
        """Forget what was processed."""
        self._evaluator.reset()
        self._num_seen = self._num_left_out = 0

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count a batch of outputs of `LeavingOut`.

        Raises:
            ImageTooLargeError: memory ran out while the evaluator counted, which cannot be undone.
        """
        kept = []
        for entry, output in zip(inputs, outputs, strict=True):
            if LEFT_OUT in output:
                self._num_left_out += 1
                _logger.warning("left out of the evaluation: %s", output[LEFT_OUT])
            else:
                kept.append((entry, output))
        if kept:
            self._num_seen += len(kept)
            with memory_for(kept[0][0].get("file_name", "an image")):
                self._evaluator.process([entry for entry, _ in kept], [out for _, out in kept])

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            The evaluator's numbers, with ``images_left_out`` where it is not 0.

        Raises:
            ImageTooLargeError: no image is left.
        """
        counts = comm.all_gather((self._num_seen, self._num_left_out))
        num_seen, num_left_out = (sum(numbers) for numbers in zip(*counts, strict=True))
        if num_left_out and not num_seen:
            raise ImageTooLargeError(
                f"all {num_left_out} images were left out of the evaluation, and there is nothing "
                "to count; the log gives the reasons"
            )
        tasks = self._evaluator.evaluate()
        if num_left_out and tasks:
            _logger.warning(
                "%d of %d images were left out of the evaluation",
                num_left_out,
                num_left_out + num_seen,
            )
            for numbers in tasks.values():
                numbers["images_left_out"] = num_left_out
        return tasks
