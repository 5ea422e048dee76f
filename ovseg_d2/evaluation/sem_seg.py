"""detectron2's semantic segmentation evaluator, with class sets and each image's own words."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..d2.data import DatasetCatalog, MetadataCatalog
from ..d2.evaluation import SemSegEvaluator
from ..d2.utils import comm
from ..ops import correct_scores, size_remedy
from ..vocab import IGNORED, LabelCodes, label_codes, read_class_names, tell_apart
from .ambiguity import forgiven_pairs, forgiving_means
from .cautions import cautions_of_classes
from .means import iou_of, mean_of_present, means_of_sets
from .official import official_numbers

__all__ = ["OVSegSemSegEvaluator", "check_labelled"]

# Ends of numbers of `official_numbers` and `forgiving_means` behind "mIoU_".
_NO_SETS = {"forgiving", "forgiving_general", "mmseg", "ovseg"}


class OVSegSemSegEvaluator(SemSegEvaluator):
    """detectron2's numbers (mIoU and others), and further ones for open vocabularies.

    * For every class set of the metadata (``class_sets``: name -> class ids) ``mIoU_<set>``, and
      ``hIoU``, the harmonic mean of base and novel, or of seen and unseen, where both exist;
      and ``mIoU_<set>_own_pixels``, which counts only pixels of the set's classes. The two differ
      by the pixels of other classes that are predicted as one of the set.
    * With ``related`` also the numbers of `forgiving_means`.
    * ``mIoU_ovseg``, ``mIoU_mmseg`` and others of `official_numbers`, as papers count them.
    * With ``own_words`` also ``..._own_words``, the same numbers for predictions that choose only
      among the classes in the image's labels.
    * The labels of an input are those of its ``sem_seg_file_name``, so an image may have several
      entries; detectron2 finds labels by ``file_name`` and uses those of the last entry for all.
    * A label outside the classes is refused; detectron2 silently counts it in a wrong place.
    * Classes of one name get a number, as "bow (2)"; detectron2 keeps the last one.

    Departs: no BoundaryIoU by default. detectron2 computes it from values of label maps minus the
    smallest value around, so it depends on the order of the classes and gives numbers for classes
    that do not occur.

    Attributes:
        cautions: sentences on limits of the numbers, from `evaluate`.
        forgiven: `forgiven_pairs`, from `evaluate`; None without ``related``.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        distributed: bool = True,
        output_dir: str | None = None,
        sem_seg_loading_fn: Callable[..., np.ndarray],
        codes: LabelCodes | None = None,
        own_words: bool = False,
        boundary_iou: bool = False,
        related: Mapping[tuple[int, int], str] | None = None,
    ) -> None:
        """Read the dataset's metadata.

        Args:
            dataset_name: registered, with ``stuff_classes`` and ``ignore_label``, one or several.
            distributed: gather over ranks.
            output_dir: folder of detectron2's prediction files; None writes none.
            sem_seg_loading_fn: file name, dtype -> (H, W) values of a label file.
            codes: meaning of these values; None for class ids and the metadata's ignored labels,
                as in detectron2.
            own_words: evaluate also with each image's own words.
            related: (predicted, labelled) -> relation, from `related_classes`, of the classes that
                `forgiving_means` forgives; None leaves its numbers out.
            boundary_iou: add detectron2's ``BoundaryIoU-<class>`` and ``min(IoU, B-Iou)-<class>``.

        Raises:
            ValueError: an entry of the dataset has no label file, or a class set the name of
                another number.
        """
        try:
            super().__init__(
                dataset_name, distributed, output_dir, sem_seg_loading_fn=self._current_labels
            )
        except KeyError:  # detectron2 reads the label file of every entry
            check_labelled(dataset_name)
            raise
        metadata = MetadataCatalog.get(dataset_name)
        self._dataset_name = dataset_name
        self._class_sets = dict(metadata.get("class_sets") or {})
        taken = sorted(_NO_SETS & set(self._class_sets))
        if taken:
            raise ValueError(
                f"dataset {dataset_name!r} has the class set {taken[0]!r}, and mIoU_{taken[0]} is "
                "another number; rename the set"
            )
        self._class_names = tell_apart(read_class_names(metadata, f"dataset {dataset_name!r}"))
        where = f"dataset {dataset_name}"
        self._codes = label_codes(metadata, where).contiguous() if codes is None else codes
        self._loading_fn = sem_seg_loading_fn
        self._own_words = own_words
        self._related = related
        self._compute_boundary_iou = self._compute_boundary_iou and boundary_iou
        # detectron2 logs the numbers of all classes as one dict; the engine logs a table instead.
        self._logger = logging.Logger("unused", logging.CRITICAL)
        self._label_files: dict[str, list[str]] | None = None
        self._ignore_label = self._num_classes  # in the labels of `_current_labels`
        self._labels = np.zeros((0, 0), dtype=np.int64)
        self.cautions: list[str] = []
        self.forgiven: list[dict[str, Any]] | None = None

    def reset(self) -> None:
        """Drop all counts."""
        super().reset()
        size = self._num_classes + 1
        self._own_conf_matrix = np.zeros((size, size), dtype=np.int64)
        self._num_images = 0
        self._start = time.perf_counter()
        self.cautions = []
        self.forgiven = None

    def process(
        self, inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]
    ) -> None:
        """Count a batch.

        Args:
            inputs: dicts with ``file_name``, and ``sem_seg_file_name`` where the image has several
                entries.
            outputs: dicts with ``sem_seg``: (K, H, W) scores; with a map correction also
                ``uncorrected`` and ``map_correction``, see `PixelScoringModel`.

        Raises:
            ValueError: the number of channels is neither that of the classes nor one more (for
                background), a label file differs in size from the prediction or holds an id that
                is neither a class nor ignored, or the image has several label files and its input
                names none.
        """
        for batched_input, output in zip(inputs, outputs, strict=True):
            name, scores = batched_input["file_name"], output["sem_seg"]
            self._check_channels(len(scores), name)
            label_file = self._label_file_of(batched_input)
            labels = self._codes.decode(self._loading_fn(label_file, dtype=int), label_file)
            labels[labels == IGNORED] = self._num_classes
            self._check_size(labels, scores.shape[-2:], name, label_file)
            if self._own_words:
                self._count_own_words(labels, output)
            self._labels = labels
            self.input_file_to_gt_file[name] = label_file
            super().process([batched_input], [output])
        self._num_images += len(inputs)

    def _current_labels(self, file_name: str, dtype: Any = int) -> np.ndarray:
        """Copy of the labels of the current input, for detectron2, which writes into them."""
        del file_name
        return self._labels.astype(dtype)

    def _label_file_of(self, batched_input: Mapping[str, Any]) -> str:
        label_file = batched_input.get("sem_seg_file_name")
        if label_file is not None:
            return label_file
        if self._label_files is None:
            self._label_files = _files_by_image(self._dataset_name)
        name = batched_input["file_name"]
        files = self._label_files.get(name, ())
        if len(files) != 1:
            raise ValueError(
                f"image {name} has {len(files)} label files in dataset {self._dataset_name}, and "
                "its input names none of them; keep 'sem_seg_file_name' in the mapper"
            )
        return files[0]

    def _check_channels(self, num_channels: int, name: str) -> None:
        if num_channels not in (self._num_classes, self._num_classes + 1):
            raise ValueError(
                f"the prediction for {name} has {num_channels} channels, but dataset "
                f"{self._dataset_name} has {self._num_classes} classes; segment it with the "
                "dataset's own vocabulary"
            )

    def _check_size(
        self, labels: np.ndarray, size: Sequence[int], name: str, label_file: str
    ) -> None:
        if tuple(labels.shape) != tuple(size):
            raise ValueError(
                f"label file {label_file} is {labels.shape[0]} x {labels.shape[1]} pixels, its "
                f"image {name} is {size[0]} x {size[1]}; {size_remedy(labels.shape, size)}"
            )

    def _count_own_words(self, labels: np.ndarray, output: Mapping[str, Any]) -> None:
        classes = np.unique(labels[labels < self._num_classes])
        if classes.size == 0:
            return
        # A map correction chooses among the image's classes, too.
        scores = output.get("uncorrected", output["sem_seg"])
        scores = scores[torch.from_numpy(classes).to(scores.device)]
        if "map_correction" in output:
            scores = correct_scores(scores, output["map_correction"])
        rows = scores.argmax(dim=0).cpu().numpy()
        size = self._num_classes + 1
        pairs = size * classes[rows].reshape(-1) + labels.reshape(-1)
        counts = np.bincount(pairs, minlength=size**2)
        self._own_conf_matrix += counts.reshape(size, size)

    def evaluate(self) -> OrderedDict[str, dict[str, Any]] | None:
        """Gather and compute.

        Returns:
            ``{"sem_seg": numbers}`` in percent on rank 0, None elsewhere: detectron2's numbers,
            those of the class sets and own words, ``images`` and ``seconds``.
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
        # From the gathered counts, since class names need not be unique.
        numbers.update(official_numbers(self._conf_matrix, self._class_sets))
        counts = self._conf_matrix[:-1, :-1]
        numbers.update(means_of_sets(iou_of(counts), self._class_sets))
        for name, ids in self._class_sets.items():
            of_set = np.isin(np.arange(self._num_classes), [*ids])
            iou = iou_of(np.where(of_set, counts, 0))
            numbers[f"mIoU_{name}_own_pixels"] = mean_of_present(iou)
        if self._related is not None:
            numbers.update(forgiving_means(counts, self._related))
            self.forgiven = forgiven_pairs(counts, self._related, self._class_names)
        if self._own_words:
            iou = iou_of(own_conf_matrix[:-1, :-1])
            means = {"mIoU": mean_of_present(iou), **means_of_sets(iou, self._class_sets)}
            numbers.update({f"{key}_own_words": value for key, value in means.items()})
        numbers["images"] = num_images
        numbers["seconds"] = seconds
        labelled = self._conf_matrix.sum(axis=0)
        self.cautions = cautions_of_classes(
            f"dataset {self._dataset_name}",
            self._class_names,
            labelled[:-1],
            unit="pixels",
            number="mIoU",
            num_images=num_images,
            ignored=int(labelled[-1]),
            ignored_values=self._codes.ignored,
        )
        return results


def _files_by_image(dataset_name: str) -> dict[str, list[str]]:
    """Image -> its distinct label files."""
    files: dict[str, dict[str, None]] = {}
    for entry in DatasetCatalog.get(dataset_name):
        files.setdefault(entry["file_name"], {})[entry["sem_seg_file_name"]] = None
    return {image: list(labels) for image, labels in files.items()}


def check_labelled(dataset_name: str) -> None:
    """Raise a ValueError that names the first entry of a dataset without a label file."""
    for entry in DatasetCatalog.get(dataset_name):
        if "sem_seg_file_name" not in entry:
            raise ValueError(
                f"dataset {dataset_name!r} has no labels to evaluate with: "
                f"{entry.get('file_name')} is without 'sem_seg_file_name'; add it to its dicts"
            )
