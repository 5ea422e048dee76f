"""Zero-shot classification of whole images."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from .means import harmonic_mean

__all__ = ["ClassificationEvaluator", "accuracy_of_sets"]

_TOP = 5


class ClassificationEvaluator(DatasetEvaluator):
    """Accuracy of the best class and of the best five, in percent, by sets of classes.

    Paper: [clip] Sec. 3.1, zero-shot classification by the nearest text.

    Predictions are always among all classes; ``accuracy_<set>`` counts the images whose class is in
    the set, and ``harmonic_accuracy`` is the harmonic mean of those of base and novel.

    Attributes:
        cautions: sentences on limits of the numbers, from `evaluate`.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        category_fn: Callable[[Mapping[str, Any]], int],
        distributed: bool = True,
    ) -> None:
        """Read the dataset's metadata.

        Args:
            dataset_name: registered, with ``stuff_classes`` and optional ``class_sets``.
            category_fn: input dict -> class id.
            distributed: gather over ranks.
        """
        metadata = MetadataCatalog.get(dataset_name)
        self._dataset_name = dataset_name
        self._num_classes = len(metadata.stuff_classes)
        self._class_sets = dict(metadata.get("class_sets") or {})
        self._category_fn = category_fn
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Drop all counts."""
        self._ranks: list[tuple[int, int]] = []  # class, number of better classes
        self.cautions: list[str] = []

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record the rank of the class of each image.

        Args:
            inputs: dicts that ``category_fn`` takes.
            outputs: dicts with ``class_scores`` (K,).

        Raises:
            ValueError: another number of scores than classes, or a class id out of range.
        """
        for batched_input, output in zip(inputs, outputs, strict=True):
            scores = output["class_scores"]
            category = self._category_fn(batched_input)
            if len(scores) != self._num_classes or not 0 <= category < self._num_classes:
                raise ValueError(
                    f"{batched_input.get('file_name')} is of class {category} and has "
                    f"{len(scores)} scores, but dataset {self._dataset_name} has "
                    f"{self._num_classes} classes; use the dataset's own vocabulary and ids"
                )
            # Classes of an equal score and of NaN count as better, so that a model without
            # information has no luck.
            better = int((~(scores < scores[category])).sum()) - 1
            self._ranks.append((category, better))

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and count.

        Returns:
            ``{"classification": numbers}`` on rank 0, None elsewhere.
        """
        ranks = self._ranks
        if self._distributed:
            gathered = comm.gather(ranks)
            if not comm.is_main_process():
                return None
            ranks = [pair for part in gathered for pair in part]
        categories, better = np.array(ranks, dtype=int).reshape(-1, 2).T
        numbers = accuracy_of_sets(categories, better == 0, self._class_sets)
        numbers["accuracy_top5"] = _percent(better < _TOP)
        numbers["images"] = len(ranks)
        self.cautions = _cautions_of(self._dataset_name, self._num_classes)
        return OrderedDict(classification=numbers)


def accuracy_of_sets(
    categories: np.ndarray, right: np.ndarray, class_sets: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Compute accuracies of all images and by class sets.

    Args:
        categories: (N,) true class ids.
        right: (N,) bool, whether the prediction is right.
        class_sets: name -> class ids.

    Returns:
        Percent: ``accuracy``, ``accuracy_<name>`` for each set (NaN where none of its classes
        occurs), and ``harmonic_accuracy`` where base and novel, or seen and unseen, are given.
    """
    numbers = {"accuracy": _percent(right)}
    for name, ids in class_sets.items():
        numbers[f"accuracy_{name}"] = _percent(right[np.isin(categories, list(ids))])
    for known, new in (("base", "novel"), ("seen", "unseen")):
        if {known, new} <= set(class_sets):
            pair = (numbers[f"accuracy_{known}"], numbers[f"accuracy_{new}"])
            numbers["harmonic_accuracy"] = harmonic_mean(*pair)
    return numbers


def _cautions_of(dataset_name: str, num_classes: int) -> list[str]:
    where = f"dataset {dataset_name} has {num_classes} "
    if num_classes == 1:
        return [f"{where}class, so every prediction is right: accuracy does not judge the model"]
    if num_classes <= _TOP:
        return [f"{where}classes, and all of them are among the best {_TOP}: accuracy_top5 is 100"]
    return []


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean()) if right.size else float("nan")
