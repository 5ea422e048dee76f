"""Zero-shot classification: which of a vocabulary's classes an image as a whole is."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm

__all__ = ["ClassificationEvaluator", "accuracy_of_sets", "harmonic_mean"]

_TOP = 5


class ClassificationEvaluator(DatasetEvaluator):
    """Accuracy of the best class and of the best five, in percent, by sets of classes.

    Paper: [clip] Sec. 3.1, zero-shot classification by the nearest text.

    An image always chooses among all classes; ``accuracy_<set>`` counts the images whose class is
    in the set, and ``harmonic_accuracy`` is the harmonic mean of those of base and novel.

    Attributes:
        cautions: what `evaluate` found that makes its numbers mean less; sentences.
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
            dataset_name: registered, with ``stuff_classes`` and perhaps ``class_sets``.
            category_fn: an input dict -> the number of its class.
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
        """Forget what was processed."""
        self._found: list[tuple[int, int]] = []
        self.cautions: list[str] = []

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Note the rank of each image's class.

        Args:
            inputs: dicts that ``category_fn`` understands.
            outputs: dicts with ``class_scores`` (K,).

        Raises:
            ValueError: scores of another number of classes, or an image of no class.
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
            # Classes of an equal score come first, so that a model that knows nothing has no luck;
            # nor has one whose scores are no numbers, which are below nothing.
            better = int((~(scores < scores[category])).sum()) - 1
            self._found.append((category, better))

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and count.

        Returns:
            ``{"classification": numbers}`` on rank 0, None elsewhere.
        """
        found = self._found
        if self._distributed:
            gathered = comm.gather(found, dst=0)
            if not comm.is_main_process():
                return None
            found = [each for part in gathered for each in part]
        categories, better = np.array(found, dtype=int).reshape(-1, 2).T
        numbers = accuracy_of_sets(categories, better == 0, self._class_sets)
        numbers["accuracy_top5"] = _percent(better < _TOP)
        numbers["images"] = len(found)
        self.cautions = _cautions_of(self._dataset_name, self._num_classes)
        return OrderedDict(classification=numbers)


def accuracy_of_sets(
    categories: np.ndarray, right: np.ndarray, class_sets: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Shares of right answers.

    Args:
        categories: (N,) true classes.
        right: (N,) bool.
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


def harmonic_mean(first: float, second: float) -> float:
    """Of two numbers of at least 0; 0 where both are 0."""
    return 0.0 if first + second == 0 else 2 * first * second / (first + second)


def _cautions_of(dataset_name: str, num_classes: int) -> list[str]:
    where = f"dataset {dataset_name} has {num_classes} "
    if num_classes == 1:
        return [f"{where}class, and every answer is that class: accuracy says nothing of the model"]
    if num_classes <= _TOP:
        return [f"{where}classes, and all of them are among the best {_TOP}: accuracy_top5 is 100"]
    return []


def _percent(right: np.ndarray) -> float:
    return 100 * float(right.mean()) if right.size else float("nan")
