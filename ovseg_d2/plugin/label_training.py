"""Training of pixel-scoring models on label maps that hide some of a dataset's classes."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..d2.config import CfgNode
from ..systems import TextSegmenter
from ..text import ClassTexts
from ..vocab import Vocabulary, find_classes, find_unseen
from .fitting import GREY, BatchPadder
from .inputs import InputReader, dataset_vocabulary
from .open_vocabulary import PixelScoringModel

__all__ = [
    "LabelledTraining",
    "check_labels",
    "check_labels_are_read",
    "check_unseen",
    "unseen_classes",
]

_logger = logging.getLogger(__name__)


def check_labels_are_read(cfg: CfgNode) -> None:
    """Refuse a training on labels whose mapper reads none, before anything is built.

    Args:
        cfg: reads ``INPUT.TRAIN_MAPPER`` and ``INPUT.SEMANTIC.ONLY_IGNORED`` unless
            ``DATASETS.TRAIN`` is empty.

    Raises:
        ValueError: a mapper that reads no labels, or hides all of them.
    """
    if not cfg.DATASETS.TRAIN:
        return
    if cfg.INPUT.TRAIN_MAPPER != "semantic":
        raise ValueError(
            f"INPUT.TRAIN_MAPPER {cfg.INPUT.TRAIN_MAPPER!r} reads no labels of classes, and "
            f"{cfg.MODEL.META_ARCHITECTURE} is trained on them; set it to semantic"
        )
    if cfg.INPUT.SEMANTIC.ONLY_IGNORED:
        raise ValueError(
            "INPUT.SEMANTIC.ONLY_IGNORED True hides the labels of all classes, and "
            f"{cfg.MODEL.META_ARCHITECTURE} is trained on them; set it to False"
        )


def check_labels(batched_input: dict[str, Any], num_classes: int, ignore: int) -> None:
    """Refuse labels beyond the classes, with the name of their image.

    Args:
        batched_input: with ``sem_seg``.
        num_classes: K.
        ignore: label of pixels that do not count.

    Raises:
        ValueError: a label is neither a class, nor ignored, nor negative.
    """
    labels = batched_input["sem_seg"]
    invalid = labels[(labels >= num_classes) & (labels != ignore)]
    if invalid.numel():
        raise ValueError(
            f"the labels of {batched_input.get('file_name', 'an image')} hold "
            f"{int(invalid.max())}, and its dataset has {num_classes} classes; map them "
            f"to 0..{num_classes - 1}, or to MODEL.SEM_SEG_HEAD.IGNORE_VALUE"
        )


def check_unseen(cfg: CfgNode) -> None:
    """Refuse unseen classes that a training set does not have, before anything is built.

    Names of class sets log a warning for a training set without class sets.

    Args:
        cfg: reads ``INPUT.SEMANTIC.UNSEEN`` and ``DATASETS.TRAIN``; the loader refuses sets that
            are not registered.

    Raises:
        ValueError: a name is neither a class nor a class set of a training set.
    """
    unseen = cfg.INPUT.SEMANTIC.UNSEEN
    for name in cfg.DATASETS.TRAIN:
        vocabulary = dataset_vocabulary(name)
        if vocabulary is None:
            continue
        unseen_ids = unseen_classes(unseen, vocabulary, name)
        if unseen and not unseen_ids and not vocabulary.class_sets:
            _logger.warning(
                "dataset '%s' has no class sets, so that INPUT.SEMANTIC.UNSEEN %s hides none of "
                "its %d classes: all of them are trained on",
                name,
                list(unseen),
                len(vocabulary),
            )


def unseen_classes(unseen: Sequence[str], vocabulary: Vocabulary, dataset: str) -> tuple[int, ...]:
    """Return the classes of a dataset that ``INPUT.SEMANTIC.UNSEEN`` names, see `find_unseen`.

    Args:
        unseen: classes and class sets.
        vocabulary: of the dataset.
        dataset: its name, for errors.

    Raises:
        ValueError: a name is neither a class nor a class set.
    """
    names, class_sets = vocabulary.names, vocabulary.class_sets
    return _with_place(lambda: find_unseen(unseen, names, class_sets), f"dataset {dataset!r}")


def _with_place(find: Callable[[], tuple[int, ...]], place: str) -> tuple[int, ...]:
    """Call `find`, whose errors are raised with the key and the place of the unseen classes."""
    try:
        return find()
    except ValueError as error:
        raise ValueError(f"INPUT.SEMANTIC.UNSEEN, {place}: {error}") from error


class LabelledTraining(PixelScoringModel):
    """Base class of models that train on label maps: batches, labels and unseen classes."""

    def __init__(self, inputs: InputReader, *, unseen: tuple[str, ...] = ()) -> None:
        """Build the base of its parts.

        Args:
            inputs: reads input dicts.
            unseen: classes and class sets that have no labels.
        """
        super().__init__(inputs)
        self._unseen = unseen
        self._pad = BatchPadder()

    @property
    def needs_weights(self) -> bool:
        """Always True: part of the network starts from random weights."""
        return True

    def training_batch(
        self, batched_inputs: Sequence[dict[str, Any]], segmenter: TextSegmenter, ignore: int
    ) -> tuple[Tensor, ClassTexts, Tensor, tuple[int, ...]]:
        """Read the inputs of a training step.

        Args:
            batched_inputs: dicts with ``image`` (3, H, W) and ``sem_seg`` (H, W), which are padded
                to whole strides of one size; the padding has the ignore label.
            segmenter: the network that is trained.
            ignore: label of pixels that do not count.

        Returns:
            Images (B, 3, H, W), texts, labels (B, H, W) int64, and the unseen classes.

        Raises:
            ValueError: an input is without labels, or has a label beyond its classes; and the
                errors of :meth:`training_texts`.
        """
        stride = (segmenter.stride, segmenter.stride)
        samples = self._pad(batched_inputs, stride, {"image": GREY, "sem_seg": ignore})
        images = self.rgb_batch(samples)
        if any("sem_seg" not in sample for sample in samples):
            raise ValueError(
                "training images come without sem_seg; set INPUT.TRAIN_MAPPER to semantic"
            )
        for sample in samples:
            check_labels(sample, len(self.vocabulary_of(sample)), ignore)
        labels = torch.stack([sample["sem_seg"] for sample in samples]).to(self.device)
        texts, unseen_ids = self.training_texts(samples)
        return images, texts, labels, unseen_ids

    def training_texts(
        self, batched_inputs: Sequence[dict[str, Any]]
    ) -> tuple[ClassTexts, tuple[int, ...]]:
        """Return the texts of a batch's classes, one row each, and the unseen classes.

        Raises:
            ValueError: inputs of several vocabularies, unseen classes that are not in it, or
                several vectors per class.
        """
        vocabularies = {self.vocabulary_of(sample) for sample in batched_inputs}
        if len(vocabularies) > 1:
            raise ValueError(
                f"a training batch has {len(vocabularies)} vocabularies; train on datasets of the "
                "same classes"
            )
        (vocabulary,) = vocabularies
        if self.text_bank.synonyms == "max" and any(
            len(words) > 1 for words in vocabulary.synonyms
        ):
            raise ValueError(
                "MODEL.TEXT.SYNONYMS max keeps several vectors a class, and pixels are trained on "
                "one; set it to mean or joined"
            )
        datasets = {sample.get("dataset_name") for sample in batched_inputs}
        unseen_ids = {self._unseen_ids_of(name, vocabulary) for name in datasets}
        if len(unseen_ids) > 1:
            raise ValueError(
                f"INPUT.SEMANTIC.UNSEEN {list(self._unseen)} means different classes of the "
                "training datasets; train on datasets whose classes have the same places"
            )
        return self.text_bank.class_texts(vocabulary), unseen_ids.pop()

    def _unseen_ids_of(self, dataset_name: str | None, vocabulary: Vocabulary) -> tuple[int, ...]:
        """Return the unseen classes by the dataset's own names, which its mapper uses too."""
        own = None if dataset_name is None else self.inputs.own_vocabulary(dataset_name)
        if dataset_name is None or own is None or len(own) != len(vocabulary):
            names, class_sets = vocabulary.names, vocabulary.class_sets
            return _with_place(
                lambda: find_classes(self._unseen, names, class_sets), "the vocabulary"
            )
        return unseen_classes(self._unseen, own, dataset_name)
