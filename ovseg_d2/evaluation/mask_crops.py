"""Accuracy of a mask classifier on the masks of the ground truth."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..d2.data import MetadataCatalog
from ..d2.evaluation import DatasetEvaluator
from ..d2.utils import comm
from ..vocab import read_class_names, tell_apart
from .cautions import cautions_of_classes
from .means import mean_of_present, means_of_sets
from .sem_seg import check_labelled

__all__ = ["MaskCropEvaluator"]

_TOP = 5


class MaskCropEvaluator(DatasetEvaluator):
    """Accuracy of the classes of masks.

    * ``accuracy`` and ``accuracy_top5``: shares of all masks, as the official code of [ovseg]
      reports them.
    * ``class_accuracy``: the mean over classes of the share of their masks, and
      ``class_accuracy_<set>`` for every class set of the metadata (``class_sets``: name -> class
      ids); all classes have the same weight.

    Attributes:
        cautions: sentences on limits of the numbers, from `evaluate`.
    """

    def __init__(self, dataset_name: str, *, distributed: bool = True) -> None:
        """Read the dataset's metadata.

        Args:
            dataset_name: registered, with ``stuff_classes`` and label files.
            distributed: gather over ranks.

        Raises:
            ValueError: an entry of the dataset has no label file.
        """
        check_labelled(dataset_name)
        metadata = MetadataCatalog.get(dataset_name)
        self._dataset_name = dataset_name
        self._class_names = tell_apart(read_class_names(metadata, f"dataset {dataset_name!r}"))
        self._class_sets = dict(metadata.get("class_sets") or {})
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Drop all counts."""
        # Rows: masks, rightly classified masks, masks whose class is among the best five.
        self._counts = np.zeros((3, len(self._class_names)), dtype=np.int64)
        self._num_images = 0
        self.cautions: list[str] = []
        self._start = time.perf_counter()

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count the masks of a batch.

        Args:
            inputs: dicts with ``mask_class_ids``, (Q,) class ids.
            outputs: dicts with ``mask_probs``, (Q, K) scores.

        Raises:
            ValueError: a model that classifies no masks, or another number of classes.
        """
        num_classes = len(self._class_names)
        for batched_input, output in zip(inputs, outputs, strict=True):
            if "mask_probs" not in output:
                raise ValueError(
                    "TEST.TASK mask_crops needs 'mask_probs', and the model returns "
                    f"{', '.join(sorted(output)) or 'nothing'}; set it to segmentation, or "
                    "MODEL.META_ARCHITECTURE to MaskAdaptedCLIP"
                )
            probs = output["mask_probs"].float().cpu()
            if probs.shape[1] != num_classes:
                raise ValueError(
                    f"the masks of {batched_input['file_name']} have scores of {probs.shape[1]} "
                    f"classes, but dataset {self._dataset_name} has {num_classes}; classify "
                    "them with the dataset's vocabulary"
                )
            true_ids = batched_input["mask_class_ids"].cpu()
            ranked = probs.topk(min(_TOP, num_classes), dim=1).indices == true_ids[:, None]
            for row, counted in enumerate(
                (true_ids, true_ids[ranked[:, 0]], true_ids[ranked.any(dim=1)])
            ):
                self._counts[row] += np.bincount(counted.numpy(), minlength=num_classes)
            self._num_images += 1

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            ``{"mask_crops": numbers}`` in percent on rank 0, None elsewhere: those of the class
            docstring, ``accuracy-<class>``, ``masks``, ``images`` and ``seconds``.
        """
        seconds = time.perf_counter() - self._start
        counts, num_images = self._counts, self._num_images
        if self._distributed:
            gathered = comm.all_gather((counts, num_images))
            counts = np.sum([part[0] for part in gathered], axis=0)
            num_images = sum(part[1] for part in gathered)
            if not comm.is_main_process():
                return None
        with np.errstate(divide="ignore", invalid="ignore"):
            of_all = 100 * counts[1:].sum(axis=1) / counts[0].sum()
            of_classes = 100 * counts[1] / counts[0]
        numbers: dict[str, Any] = {
            "accuracy": float(of_all[0]),
            "accuracy_top5": float(of_all[1]),
            "class_accuracy": mean_of_present(of_classes),
            **means_of_sets(of_classes, self._class_sets, "class_accuracy", "harmonic_accuracy"),
        }
        for name, value in zip(self._class_names, of_classes, strict=True):
            numbers[f"accuracy-{name}"] = float(value)
        self.cautions = cautions_of_classes(
            f"dataset {self._dataset_name}",
            self._class_names,
            counts[0],
            unit="masks",
            number="class_accuracy",
            num_images=num_images,
        )
        numbers |= {"masks": int(counts[0].sum()), "images": num_images, "seconds": seconds}
        return OrderedDict(mask_crops=numbers)
