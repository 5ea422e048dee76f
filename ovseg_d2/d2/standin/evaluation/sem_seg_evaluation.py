"""Metrics of semantic segmentation from one confusion matrix over the whole dataset."""

import itertools
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask

from ..data import DatasetCatalog, MetadataCatalog
from ..utils.comm import all_gather, is_main_process, synchronize
from ..utils.file_io import PathManager
from .evaluator import DatasetEvaluator

__all__ = ["SemSegEvaluator"]

# From here on detectron2 gives no boundary metrics: its erosion works on uint8.
_BOUNDARY_CLASS_LIMIT = 255
# Width of the boundary as a share of the image's diagonal.
_BOUNDARY_RATIO = 0.02


class SemSegEvaluator(DatasetEvaluator):
    """IoU, accuracy and boundary IoU, as detectron2 computes them.

    Pixels whose label is ignored do not count, and neither do those predicted as a channel beyond
    the classes. Classes without ground truth are NaN and left out of the means, though pixels
    wrongly predicted as one of them count against the others.

    Departs: labels that are neither a class nor ignored are an error (detectron2 counts them in
    the wrong place, or fails in ``reshape``); boundary metrics do not need OpenCV.
    """

    def __init__(
        self,
        dataset_name: str,
        distributed: bool = True,
        output_dir: str | None = None,
        *,
        sem_seg_loading_fn: Callable[..., np.ndarray],
    ) -> None:
        """Look the dataset up in the catalogs; reads no files.

        Args:
            dataset_name: its catalog entry gives ``file_name`` and ``sem_seg_file_name`` of each
                image, its metadata ``stuff_classes``, ``ignore_label`` and, if labels in written
                predictions differ from channels, ``stuff_dataset_id_to_contiguous_id``.
            distributed: gather from all processes.
            output_dir: for ``sem_seg_predictions.json`` and ``sem_seg_evaluation.pth``, or None.
            sem_seg_loading_fn: called as ``fn(sem_seg_file_name, dtype=int)``; (H, W) labels.

        Raises:
            AttributeError: the metadata lack an attribute.
            KeyError: the dataset is not registered.
        """
        self._logger = logging.getLogger("detectron2.evaluation.sem_seg_evaluation")
        self._dataset_name = dataset_name
        self._distributed = distributed
        self._output_dir = output_dir
        self._cpu_device = torch.device("cpu")
        self.sem_seg_loading_fn = sem_seg_loading_fn
        self.input_file_to_gt_file = {
            record["file_name"]: record["sem_seg_file_name"]
            for record in DatasetCatalog.get(dataset_name)
        }

        meta = MetadataCatalog.get(dataset_name)
        to_contiguous_id = meta.get("stuff_dataset_id_to_contiguous_id")
        self._contiguous_id_to_dataset_id: dict[int, int] | None = None
        if to_contiguous_id is not None:
            self._contiguous_id_to_dataset_id = {v: k for k, v in to_contiguous_id.items()}
        self._class_names = meta.stuff_classes
        self._num_classes = len(meta.stuff_classes)
        self._ignore_label = meta.ignore_label
        self._compute_boundary_iou = self._num_classes < _BOUNDARY_CLASS_LIMIT
        if not self._compute_boundary_iou:
            self._logger.warning(
                "No boundary IoU for '%s': it has %d classes, and the limit is %d.",
                dataset_name,
                self._num_classes,
                _BOUNDARY_CLASS_LIMIT - 1,
            )

    def reset(self) -> None:
        """Start a new evaluation."""
        size = self._num_classes + 1
        self._conf_matrix = np.zeros((size, size), dtype=np.int64)
        self._b_conf_matrix = np.zeros((size, size), dtype=np.int64)
        self._predictions: list[dict[str, Any]] = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Count one batch.

        Args:
            inputs: dicts with ``file_name``.
            outputs: dicts with ``sem_seg``, (K, H, W) scores at the label map's size; the highest
                wins.

        Raises:
            AssertionError: a prediction that ``stuff_dataset_id_to_contiguous_id`` does not know.
            ValueError: sizes differ, or a label is neither a class nor ignored.
        """
        for input_, output in zip(inputs, outputs, strict=True):
            file_name = input_["file_name"]
            pred = output["sem_seg"].argmax(dim=0).to(self._cpu_device).numpy()
            gt = self._load_gt(file_name)
            if pred.shape != gt.shape:
                raise ValueError(
                    f"The prediction for {file_name} is {pred.shape}, its labels are {gt.shape}; "
                    "resize scores to the 'height' and 'width' of the input."
                )
            self._conf_matrix += self._count_pairs(pred, gt)
            if self._compute_boundary_iou:
                self._b_conf_matrix += self._count_pairs(
                    self._mask_to_boundary(pred), self._mask_to_boundary(gt)
                )
            self._predictions.extend(self.encode_json_sem_seg(pred, file_name))

    def evaluate(self) -> dict[str, Any] | None:
        """End the evaluation: gather, compute the metrics, and write the files.

        Returns:
            ``{"sem_seg": metrics}`` in percent: mIoU, fwIoU, for each class ``IoU-``,
            ``BoundaryIoU-`` and ``min(IoU, B-Iou)-``, then mACC, pACC and for each class
            ``ACC-``. None in processes other than the main one.
        """
        if self._distributed:
            synchronize()
            conf_matrices = all_gather(self._conf_matrix)
            b_conf_matrices = all_gather(self._b_conf_matrix)
            predictions = all_gather(self._predictions)
            if not is_main_process():
                return None
            self._conf_matrix = sum(conf_matrices)
            self._b_conf_matrix = sum(b_conf_matrices)
            self._predictions = list(itertools.chain.from_iterable(predictions))

        metrics = self._compute_metrics()
        if self._output_dir:
            PathManager.mkdirs(self._output_dir)
            path = os.path.join(self._output_dir, "sem_seg_predictions.json")
            with PathManager.open(path, "w") as file:
                json.dump(self._predictions, file)
            path = os.path.join(self._output_dir, "sem_seg_evaluation.pth")
            with PathManager.open(path, "wb") as file:
                # Plain floats, which torch.load reads without having to trust the file.
                torch.save({name: float(value) for name, value in metrics.items()}, file)
        results = OrderedDict({"sem_seg": metrics})
        self._logger.info(results)
        return results

    def encode_json_sem_seg(self, sem_seg: np.ndarray, input_file_name: str) -> list[dict]:
        """Encode a prediction for COCO's stuff format.

        Args:
            sem_seg: (H, W) channels.
            input_file_name: of the image.

        Returns:
            For each channel that occurs ``file_name``, ``category_id`` (the dataset's own id) and
            ``segmentation`` (run lengths).

        Raises:
            AssertionError: a channel that ``stuff_dataset_id_to_contiguous_id`` does not know.
        """
        segments = []
        for label in np.unique(sem_seg).tolist():
            category_id = label
            if self._contiguous_id_to_dataset_id is not None:
                assert label in self._contiguous_id_to_dataset_id, (
                    f"Label {label} is not in the metadata info for {self._dataset_name}"
                )
                category_id = self._contiguous_id_to_dataset_id[label]
            runs = coco_mask.encode(np.asfortranarray(sem_seg == label, dtype=np.uint8))
            segments.append(
                {
                    "file_name": input_file_name,
                    "category_id": category_id,
                    "segmentation": {**runs, "counts": runs["counts"].decode("ascii")},
                }
            )
        return segments

    def _load_gt(self, file_name: str) -> np.ndarray:
        """The labels of an image, with K in the place of the ignored one."""
        gt_file_name = self.input_file_to_gt_file[file_name]
        gt = self.sem_seg_loading_fn(gt_file_name, dtype=int)
        is_ignored = gt == self._ignore_label
        is_wrong = ~is_ignored & ((gt < 0) | (gt >= self._num_classes))
        if is_wrong.any():
            raise ValueError(
                f"Label {gt[is_wrong][0]} in {gt_file_name} is neither one of the "
                f"{self._num_classes} classes of '{self._dataset_name}' nor its ignore_label "
                f"{self._ignore_label}; correct the file or the metadata."
            )
        return np.where(is_ignored, self._num_classes, gt)

    def _count_pairs(self, pred: np.ndarray, gt: np.ndarray) -> np.ndarray:
        """The confusion matrix of one image, predictions in rows."""
        size = self._num_classes + 1
        if pred.size and pred.max() > self._num_classes:
            raise ValueError(
                f"Channel {pred.max()} is predicted, but '{self._dataset_name}' has "
                f"{self._num_classes} classes and at most one channel more is for background."
            )
        counts = np.bincount((size * pred + gt).ravel(), minlength=size * size)
        return counts.reshape(size, size)

    def _mask_to_boundary(self, labels: np.ndarray) -> np.ndarray:
        """Take from each label the smallest one around it.

        The boundary is where the difference is not zero; as in detectron2, the differences are
        counted as if they were labels.
        """
        diagonal = np.hypot(*labels.shape)
        radius = max(1, round(_BOUNDARY_RATIO * diagonal))
        # Beyond the image there is label 0.
        padded = np.pad(labels.astype(np.uint8), radius)
        eroded = _slide_min(_slide_min(padded, 2 * radius + 1).T, 2 * radius + 1).T
        return labels - eroded

    def _compute_metrics(self) -> dict[str, np.float64]:
        iou, accuracy, num_gt = _compute_ratios(self._conf_matrix)
        with np.errstate(invalid="ignore"):
            # Without labels all of them are 0/0, hence NaN.
            shares = num_gt / num_gt.sum()
            overall = np.diag(self._conf_matrix)[:-1].sum() / num_gt.sum()
        has_gt = num_gt > 0
        iou[~has_gt] = np.nan
        class_metrics = {"IoU": iou}
        if self._compute_boundary_iou:
            boundary_iou, _, _ = _compute_ratios(self._b_conf_matrix)
            # Where the boundary's is NaN the comparison is False, and the plain IoU stays.
            smaller = np.where(boundary_iou < iou, boundary_iou, iou)
            class_metrics |= {"BoundaryIoU": boundary_iou, "min(IoU, B-Iou)": smaller}

        metrics = {
            "mIoU": _mean(iou[has_gt]),
            "fwIoU": (iou * shares)[has_gt].sum() if has_gt.any() else np.float64(np.nan),
        }
        for k, name in enumerate(self._class_names):
            metrics |= {f"{metric}-{name}": values[k] for metric, values in class_metrics.items()}
        metrics |= {"mACC": _mean(accuracy[has_gt]), "pACC": overall}
        metrics |= {f"ACC-{name}": accuracy[k] for k, name in enumerate(self._class_names)}
        return {name: 100 * value for name, value in metrics.items()}


def _compute_ratios(conf_matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU (NaN: not in the union), accuracy (NaN: no ground truth) and pixels of each class."""
    counts = conf_matrix[:-1, :-1]
    hits, num_pred, num_gt = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return hits / (num_pred + num_gt - hits), hits / num_gt, num_gt


def _mean(values: np.ndarray) -> np.float64:
    return values.mean() if values.size else np.float64(np.nan)


def _slide_min(array: np.ndarray, window: int) -> np.ndarray:
    """The minimum over windows along the first axis, by doubling: (N, ...) -> (N-window+1, ...)."""
    covered = 1
    while covered < window:
        step = min(covered, window - covered)
        array = np.minimum(array[:-step], array[step:])
        covered += step
    return array
