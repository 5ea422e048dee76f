"""Evaluation that leaves out images which memory does not suffice for, counts them and says so."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from ..data.loaders import LEFT_OUT
from ..image_errors import ImageTooLargeError, memory_for
from ..plugin.inputs import image_name

__all__ = ["LeavingOut", "LeavingOutEvaluator"]

_logger = logging.getLogger(__name__)


class LeavingOut(nn.Module):
    """A model that gives ``left_out``, a sentence, for images it has no memory for."""

    def __init__(self, model: nn.Module) -> None:
        """Take the model that answers."""
        super().__init__()
        self.model = model
        self.train(model.training)  # evaluation puts the mode back that it finds here

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What the model gives; or ``left_out``, also for inputs whose mapper has left them out."""
        whole = [each for each in batched_inputs if LEFT_OUT not in each]
        answers = iter(self._answer(whole) if whole else [])
        return [
            {LEFT_OUT: each[LEFT_OUT]} if LEFT_OUT in each else next(answers)
            for each in batched_inputs
        ]

    def _answer(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            with memory_for(image_name(batched_inputs[0])):
                return self.model(batched_inputs)
        except ImageTooLargeError as error:
            if len(batched_inputs) == 1:
                return [{LEFT_OUT: str(error)}]
        return [self._answer([each])[0] for each in batched_inputs]


class LeavingOutEvaluator(DatasetEvaluator):
    """An evaluator that sees no image which was left out; ``images_left_out`` is their number."""

    def __init__(self, evaluator: DatasetEvaluator) -> None:
        """Take the evaluator of all others."""
        self._evaluator = evaluator
        self._num_seen = self._num_left_out = 0

    def reset(self) -> None:
        """Forget what was processed."""
        self._evaluator.reset()
        self._num_seen = self._num_left_out = 0

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count a batch of what `LeavingOut` gives.

        Raises:
            ImageTooLargeError: memory does not suffice for the counting itself, which cannot be
                undone.
        """
        kept = []
        for each, output in zip(inputs, outputs, strict=True):
            if LEFT_OUT in output:
                self._num_left_out += 1
                _logger.warning("left out of the evaluation: %s", output[LEFT_OUT])
            else:
                kept.append((each, output))
        if kept:
            self._num_seen += len(kept)
            with memory_for(kept[0][0].get("file_name", "an image")):
                self._evaluator.process([each for each, _ in kept], [out for _, out in kept])

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            The evaluator's numbers, with ``images_left_out`` where it is not 0.

        Raises:
            ImageTooLargeError: no image is left.
        """
        counts = comm.all_gather((self._num_seen, self._num_left_out))
        num_seen, num_left_out = (sum(each) for each in zip(*counts, strict=True))
        if num_left_out and not num_seen:
            raise ImageTooLargeError(
                f"all {num_left_out} images were left out of the evaluation, and there is nothing "
                "to count; the log says why"
            )
        found = self._evaluator.evaluate()
        if num_left_out and found:
            _logger.warning(
                "%d of %d images were left out of the evaluation",
                num_left_out,
                num_left_out + num_seen,
            )
            for numbers in found.values():
                numbers["images_left_out"] = num_left_out
        return found
