"""Evaluations at many lambdas in one pass: OVSeg's masks are made and named once an image."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..d2.evaluation import DatasetEvaluator
from ..plugin import OVSeg

__all__ = ["LambdaSweep", "SweepEvaluator", "lambda_key"]


def lambda_key(key: str, lam: float) -> str:
    """What ``results.json`` calls a number at one lambda: ``mIoU_base_lambda_0.3``."""
    return f"{key}_lambda_{lam:g}"


class LambdaSweep(nn.Module):
    """OVSeg at its own lambda, and at others beside it."""

    def __init__(self, model: nn.Module, lams: Sequence[float]) -> None:
        """Take a model.

        Args:
            model: OVSeg, with proposals that know classes and one lambda for all classes.
            lams: in [0, 1].

        Raises:
            ValueError: another model, or a lambda outside [0, 1].
        """
        super().__init__()
        if not isinstance(model, OVSeg) or model.lam is None:
            raise ValueError(
                f"TEST.LAMBDAS is {list(lams)}, and a {type(model).__name__} has no lambda to "
                "change; leave it empty, or evaluate OVSeg with a MaskFormer's masks, without "
                "UNSEEN_LAMBDA, DEMO or TEST.CEILING"
            )
        strange = [lam for lam in lams if not 0 <= lam <= 1]
        if strange:
            raise ValueError(f"TEST.LAMBDAS has {strange[0]}; give numbers from 0.0 to 1.0")
        self.model = model
        self.train(model.training)  # evaluation puts the mode back that it finds here
        self._lams = [model.lam, *lams]

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``sem_seg`` as OVSeg gives it, and ``sweep``, an iterator over those of other lambdas.

        Scores of one lambda at a time exist, so the iterator is to be used up before the next
        input.
        """
        outputs = []
        for each in batched_inputs:
            scores = self.model.sweep(each, self._lams)
            outputs.append({"sem_seg": next(scores), "sweep": scores})
        return outputs


class SweepEvaluator(DatasetEvaluator):
    """What an evaluator says of a sweep: of ``sem_seg`` itself, and mIoU at each other lambda."""

    def __init__(self, own: DatasetEvaluator, others: Mapping[float, DatasetEvaluator]) -> None:
        """Take evaluators of the same dataset.

        Args:
            own: of ``sem_seg``.
            others: one for each lambda, in the order of the sweep.
        """
        self._own = own
        self._others = dict(others)

    @property
    def cautions(self) -> list[str]:
        """What the own evaluator found that makes its numbers mean less."""
        return list(getattr(self._own, "cautions", ()))

    def reset(self) -> None:
        """Forget what was processed."""
        for each in (self._own, *self._others.values()):
            each.reset()

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count a batch of what `LambdaSweep` gives."""
        for batched_input, output in zip(inputs, outputs, strict=True):
            self._own.process([batched_input], [output])
            for evaluator, scores in zip(self._others.values(), output["sweep"], strict=True):
                evaluator.process([batched_input], [{"sem_seg": scores}])

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            The own numbers, with ``mIoU..._lambda_<lambda>`` and ``hIoU_lambda_<lambda>`` among
            them, on rank 0; None elsewhere.
        """
        found = self._own.evaluate()
        for lam, evaluator in self._others.items():
            numbers = evaluator.evaluate()
            if found is None or numbers is None:
                continue
            for key, value in numbers["sem_seg"].items():
                if key.startswith(("mIoU", "hIoU")):
                    found["sem_seg"][lambda_key(key, lam)] = value
        return found
