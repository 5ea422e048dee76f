"""detectron2's semantic segmentation evaluator, with class sets and each image's own words."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..d2.data import MetadataCatalog
from ..d2.evaluation import SemSegEvaluator
from ..d2.utils import comm
from ..vocab import read_class_names

__all__ = ["OVSegSemSegEvaluator", "mean_of_present", "means_of_sets"]


class OVSegSemSegEvaluator(SemSegEvaluator):
    """mIoU and the like as detectron2 computes them, and what open vocabularies need besides.

    * For every class set of the metadata (``class_sets``: name -> class ids) ``mIoU_<set>``, and
      ``hIoU``, the harmonic mean of base and novel, or of seen and unseen, where both exist;
      and ``mIoU_<set>_own_pixels``, which counts no pixel but those of the set's classes. The two
      differ by what is given the set's names and is none of it.
    * With ``own_words`` the same numbers again, ``..._own_words``, from predictions that choose
      only among the classes which the image's labels hold.
    * A label outside the classes is refused; detectron2 counts it somewhere silently.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        distributed: bool = True,
        output_dir: str | None = None,
        sem_seg_loading_fn: Callable[..., np.ndarray],
        own_words: bool = False,
    ) -> None:
        """Read the dataset's metadata.

        Args:
            dataset_name: registered, with ``stuff_classes`` and ``ignore_label``.
            distributed: gather over ranks.
            output_dir: where detectron2's prediction files go; None writes none.
            sem_seg_loading_fn: file name, dtype -> (H, W) labels.
            own_words: evaluate also with each image's own words.
        """
        super().__init__(
            dataset_name, distributed, output_dir, sem_seg_loading_fn=sem_seg_loading_fn
        )
        self._dataset_name = dataset_name
        metadata = MetadataCatalog.get(dataset_name)
        self._class_names = read_class_names(metadata, f"dataset {dataset_name!r}")
        self._class_sets = dict(metadata.get("class_sets") or {})
        self._loading_fn = sem_seg_loading_fn
        self._own_words = own_words

    def reset(self) -> None:
        """Forget what was processed."""
        super().reset()
        size = self._num_classes + 1
        self._own_conf_matrix = np.zeros((size, size), dtype=np.int64)
        self._num_images = 0
        self._start = time.perf_counter()

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count a batch.

        Args:
            inputs: dicts with ``file_name``.
            outputs: dicts with ``sem_seg``: (K, H, W) scores.

        Raises:
            ValueError: scores of another number of classes (one channel more is background), a
                label file whose size differs from the prediction's, or that holds an id which is
                neither a class nor the ignore label.
        """
        for batched_input, output in zip(inputs, outputs, strict=True):
            name = batched_input["file_name"]
            self._check_channels(len(output["sem_seg"]), name)
            labels = self._loading_fn(self.input_file_to_gt_file[name], dtype=int)
            self._check_labels(labels, output["sem_seg"].shape[-2:], name)
            if self._own_words:
                self._count_own_words(labels, output["sem_seg"])
        super().process(inputs, outputs)
        self._num_images += len(inputs)

    def _check_channels(self, num_channels: int, name: str) -> None:
        if num_channels not in (self._num_classes, self._num_classes + 1):
            raise ValueError(
                f"the prediction for {name} has {num_channels} channels, but dataset "
                f"{self._dataset_name} has {self._num_classes} classes; segment it with the "
                "dataset's own vocabulary"
            )

    def _check_labels(self, labels: np.ndarray, size: Sequence[int], name: str) -> None:
        label_file = self.input_file_to_gt_file[name]
        if tuple(labels.shape) != tuple(size):
            raise ValueError(
                f"label file {label_file} is {labels.shape[0]} x {labels.shape[1]} pixels, its "
                f"image {name} is {size[0]} x {size[1]}; they must agree"
            )
        strange = np.unique(labels[labels != self._ignore_label])
        strange = strange[(strange < 0) | (strange >= self._num_classes)]
        if strange.size:
            raise ValueError(
                f"label file {label_file} holds the id {int(strange[0])}, but dataset "
                f"{self._dataset_name} has {self._num_classes} classes and ignores "
                f"{self._ignore_label}; map its ids to 0..{self._num_classes - 1} first"
            )

    def _count_own_words(self, labels: np.ndarray, scores: torch.Tensor) -> None:
        labels = np.where(labels == self._ignore_label, self._num_classes, labels)
        own = np.unique(labels[labels < self._num_classes])
        if own.size == 0:
            return
        chosen = scores[torch.from_numpy(own).to(scores.device)].argmax(dim=0).cpu().numpy()
        size = self._num_classes + 1
        counts = np.bincount(size * own[chosen].reshape(-1) + labels.reshape(-1), minlength=size**2)
        self._own_conf_matrix += counts.reshape(size, size)

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            ``{"sem_seg": numbers}`` in percent on rank 0, None elsewhere. Beside detectron2's
            numbers: those of the class sets, ``images`` and ``seconds``.
        """
        seconds = time.perf_counter() - self._start
        own_conf_matrix, num_images = self._own_conf_matrix, self._num_images
        if self._distributed:
            gathered = comm.all_gather((own_conf_matrix, num_images))
            own_conf_matrix = sum(part[0] for part in gathered)
            num_images = sum(part[1] for part in gathered)
        results = super().evaluate()
        if results is None:
            return None
        numbers = results["sem_seg"]
        # From the counts, which are gathered by now: names of classes need not be unique.
        counts = self._conf_matrix[:-1, :-1]
        numbers.update(means_of_sets(_iou_of(counts), self._class_sets))
        for name, ids in self._class_sets.items():
            of_set = np.isin(np.arange(self._num_classes), [*ids])
            iou = _iou_of(np.where(of_set, counts, 0))
            numbers[f"mIoU_{name}_own_pixels"] = mean_of_present(iou)
        if self._own_words:
            own_iou = _iou_of(own_conf_matrix[:-1, :-1])
            own = {"mIoU": mean_of_present(own_iou), **means_of_sets(own_iou, self._class_sets)}
            numbers.update({f"{key}_own_words": value for key, value in own.items()})
        numbers["images"] = num_images
        numbers["seconds"] = seconds
        return results


def means_of_sets(
    values: np.ndarray,
    class_sets: Mapping[str, Sequence[int]],
    measure: str = "mIoU",
    harmonic: str = "hIoU",
) -> dict[str, float]:
    """Means over sets of classes.

    Args:
        values: (K,) IoU or another measure per class; NaN where a class does not occur.
        class_sets: name -> class ids.
        measure: what the means are called.
        harmonic: what their harmonic mean is called.

    Returns:
        ``mIoU_<name>`` for each set (NaN where none of its classes occurs), and where base and
        novel, or seen and unseen, are given ``hIoU``, their harmonic mean (NaN where one of them
        is), and ``mIoU_base_novel``, the mean over the classes of both.
    """
    means = {
        f"{measure}_{name}": mean_of_present(values[[*ids]]) for name, ids in class_sets.items()
    }
    for known, new in (("base", "novel"), ("seen", "unseen")):
        if not {known, new} <= set(class_sets):
            continue
        first, second = means[f"{measure}_{known}"], means[f"{measure}_{new}"]
        means[harmonic] = 0.0 if first + second == 0 else 2 * first * second / (first + second)
        # Both sets together, class by class, which is not the mean of the two means.
        both = [*class_sets[known], *class_sets[new]]
        means[f"{measure}_{known}_{new}"] = mean_of_present(values[both])
    return means


def mean_of_present(values: np.ndarray) -> float:
    """Mean of those that are numbers; NaN where none is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _iou_of(counts: np.ndarray) -> np.ndarray:
    """IoU in percent from a confusion matrix (rows predicted); NaN for classes without labels."""
    hit = np.diag(counts).astype(float)
    labelled, predicted = counts.sum(0), counts.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(labelled > 0, 100 * hit / (labelled + predicted - hit), np.nan)
