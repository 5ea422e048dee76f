"""Linear probing: logistic regression on frozen features."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm

__all__ = ["LinearProbeEvaluator", "fit_logistic"]

_PARTS = ("fit", "test")


class LinearProbeEvaluator(DatasetEvaluator):
    """Fits a linear classifier to one part of a dataset and measures its accuracy on the other.

    Paper: [clip] Sec. 3.2 and appendix, linear probes by L-BFGS.
    Departs: features are the projected ones for every kind of tower; they are scaled to mean 0 and
    variance 1; the weight of the penalty is given, not searched for.

    With a class set base, or seen, only its classes are fitted and tested, since the others have no
    labels in training.

    Attributes:
        cautions: sentences on limits of the numbers, from `evaluate`.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        category_fn: Callable[[Mapping[str, Any]], int],
        penalty: float = 0.1,
        distributed: bool = True,
    ) -> None:
        """Read the dataset's metadata.

        Args:
            dataset_name: registered, with ``stuff_classes`` and optional ``class_sets``.
            category_fn: input dict -> class id.
            penalty: see `fit_logistic`.
            distributed: gather over ranks.

        Raises:
            ValueError: a negative penalty.
        """
        if not penalty >= 0:
            raise ValueError(f"TEST.PROBE_PENALTY is {penalty}; give a number of at least 0")
        metadata = MetadataCatalog.get(dataset_name)
        sets = dict(metadata.get("class_sets") or {})
        everything = range(len(metadata.stuff_classes))
        self._dataset_name = dataset_name
        self._labelled = set(sets.get("base", sets.get("seen", everything)))
        self._category_fn = category_fn
        self._penalty = penalty
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Drop all features."""
        self._kept: list[tuple[str, int, np.ndarray]] = []  # part, class, (C,) features
        self.cautions: list[str] = []

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep the features of a batch.

        Args:
            inputs: dicts with ``probe_part``, "fit" or "test", that ``category_fn`` takes.
            outputs: dicts with ``image_feats`` (C,).

        Raises:
            ValueError: an input belongs to neither part.
        """
        for batched_input, output in zip(inputs, outputs, strict=True):
            part = batched_input.get("probe_part")
            if part not in _PARTS:
                raise ValueError(
                    f"{batched_input.get('file_name')}: its probe_part is {part!r}; write one of "
                    f"{', '.join(_PARTS)} into every dict of dataset {self._dataset_name}"
                )
            category = self._category_fn(batched_input)
            if category in self._labelled:
                feats = output["image_feats"].float().cpu().numpy()
                self._kept.append((part, category, feats))

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather, fit and test.

        Returns:
            ``{"linear_probe": numbers}`` on rank 0, None elsewhere; accuracies in percent.

        Raises:
            ValueError: one of the parts is empty.
        """
        kept = self._kept
        if self._distributed:
            gathered = comm.gather(kept)
            if not comm.is_main_process():
                return None
            kept = [entry for part in gathered for entry in part]
        (fit_feats, fit_ids), (feats, ids) = (self._part(kept, part) for part in _PARTS)
        classes, targets = fit_ids.unique(return_inverse=True)
        weights, bias = fit_logistic(fit_feats, targets, len(classes), penalty=self._penalty)
        numbers = {
            "accuracy": _percent(classes[(feats @ weights + bias).argmax(dim=1)] == ids),
            "accuracy_fit": _percent(
                classes[(fit_feats @ weights + bias).argmax(dim=1)] == fit_ids
            ),
            "images_fit": len(fit_ids),
            "images": len(ids),
        }
        if len(classes) == 1:
            self.cautions = [
                f"dataset {self._dataset_name}: all images to fit a probe with are of one class, "
                "and so is every prediction: accuracy says nothing about the features"
            ]
        return OrderedDict(linear_probe=numbers)

    def _part(
        self, kept: Sequence[tuple[str, int, np.ndarray]], part: str
    ) -> tuple[Tensor, Tensor]:
        """(N, C) double features and (N,) class ids of a part."""
        pairs = [(category, feats) for name, category, feats in kept if name == part]
        if not pairs:
            raise ValueError(
                f"dataset {self._dataset_name} has no image to {part} a probe with; check the "
                "'probe_part' of its dicts, and raise TEST.MAX_IMAGES"
            )
        ids, feats = zip(*pairs, strict=True)
        return torch.from_numpy(np.stack(feats)).double(), torch.tensor(ids)


def fit_logistic(
    feats: Tensor, targets: Tensor, num_classes: int, *, penalty: float, max_iter: int = 500
) -> tuple[Tensor, Tensor]:
    """Fit a multinomial logistic regression by L-BFGS.

    It minimises the mean cross entropy plus ``penalty / 2`` times the squared norm of the weights
    for features scaled to mean 0 and variance 1; the bias has no penalty.

    Args:
        feats: (N, C) double.
        targets: (N,) long below ``num_classes``.
        num_classes: K.
        penalty: at least 0.
        max_iter: largest number of iterations.

    Returns:
        Weights (C, K) and bias (K,) for the unscaled features.
    """
    mean = feats.mean(dim=0)
    # A constant feature is not scaled: it is 0 after its mean is subtracted.
    std = feats.std(dim=0, unbiased=False)
    std = torch.where(std > 0, std, 1.0)
    scaled = (feats - mean) / std
    weights = torch.zeros(feats.shape[1], num_classes, dtype=feats.dtype, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=feats.dtype, requires_grad=True)
    search = torch.optim.LBFGS(
        [weights, bias],
        max_iter=max_iter,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        search.zero_grad()
        loss = F.cross_entropy(scaled @ weights + bias, targets)
        loss = loss + penalty / 2 * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        search.step(objective)
    unscaled = weights.detach() / std[:, None]
    return unscaled, bias.detach() - mean @ unscaled


def _percent(right: Tensor) -> float:
    return 100 * right.double().mean().item()
