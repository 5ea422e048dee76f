"""Evaluation of OVSeg at many lambdas in one pass: masks are proposed and classified once."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..d2.evaluation import DatasetEvaluator
from ..plugin import OVSeg
from .model_wrapper import ModelWrapper

__all__ = ["LambdaSweep", "SweepEvaluator", "lambda_key"]


def lambda_key(key: str, lam: float) -> str:
    """The key in ``results.json`` of a number at one lambda, such as ``mIoU_base_lambda_0.3``."""
    return f"{key}_lambda_{lam:g}"


class LambdaSweep(ModelWrapper):
    """OVSeg at the config's lambda, and at further ones."""

    def __init__(self, model: nn.Module, lams: Sequence[float]) -> None:
        """Check the model and the lambdas.

        Args:
            model: OVSeg, whose proposals have class scores and one lambda for all classes.
            lams: in [0, 1].

        Raises:
            ValueError: another model, or a lambda outside [0, 1].
        """
        if not isinstance(model, OVSeg) or model.lam is None:
            raise ValueError(
                f"TEST.LAMBDAS is {list(lams)}, and a {type(model).__name__} has no lambda to "
                "change; leave it empty, or evaluate OVSeg with a MaskFormer's masks, without "
                "UNSEEN_LAMBDA, DEMO or TEST.CEILING"
            )
        outside = [lam for lam in lams if not 0 <= lam <= 1]
        if outside:
            raise ValueError(f"TEST.LAMBDAS has {outside[0]}; give numbers from 0.0 to 1.0")
        super().__init__(model)
        self._lams = [model.lam, *lams]

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``sem_seg`` of OVSeg, and ``sweep``, an iterator over ``sem_seg`` of the other lambdas.

        Only the scores of one lambda exist at a time: the iterator has to be used up before the
        next input.
        """
        outputs = []
        for batched_input in batched_inputs:
            scores = self.model.sweep(batched_input, self._lams)
            outputs.append({"sem_seg": next(scores), "sweep": scores})
        return outputs


class SweepEvaluator(DatasetEvaluator):
    """All numbers of ``sem_seg``, and mIoU and hIoU at each other lambda."""

    def __init__(self, main: DatasetEvaluator, others: Mapping[float, DatasetEvaluator]) -> None:
        """Take evaluators of the same dataset.

        Args:
            main: evaluates ``sem_seg``.
            others: one for each lambda, in the order of the sweep.
        """
        self._main = main
        self._others = dict(others)

    @property
    def cautions(self) -> list[str]:
        """Reasons why the main evaluator's numbers mean less."""
        return list(getattr(self._main, "cautions", ()))

    @property
    def forgiven(self) -> list[dict[str, Any]] | None:
        """Pairs of classes that the main evaluator forgave, if it forgives any."""
        return getattr(self._main, "forgiven", None)

    def reset(self) -> None:
        """Forget what was processed."""
        for evaluator in (self._main, *self._others.values()):
            evaluator.reset()

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count a batch of outputs of `LambdaSweep`."""
        for batched_input, output in zip(inputs, outputs, strict=True):
            self._main.process([batched_input], [output])
            for evaluator, scores in zip(self._others.values(), output["sweep"], strict=True):
                evaluator.process([batched_input], [{"sem_seg": scores}])

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            The main numbers with ``mIoU..._lambda_<lambda>`` and ``hIoU_lambda_<lambda>`` added,
            on rank 0; None elsewhere.
        """
        tasks = self._main.evaluate()
        for lam, evaluator in self._others.items():
            numbers = evaluator.evaluate()
            if tasks is None or numbers is None:
                continue
            for key, value in numbers["sem_seg"].items():
                if key.startswith(("mIoU", "hIoU")):
                    tasks["sem_seg"][lambda_key(key, lam)] = value
        return tasks
