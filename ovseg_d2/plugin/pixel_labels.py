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
    """Refuse a training on labels whose mapper would hand none on, before anything is built.

    Args:
        cfg: reads ``INPUT.TRAIN_MAPPER`` and ``INPUT.SEMANTIC.ONLY_IGNORED``, where there is
            something in ``DATASETS.TRAIN``.

    Raises:
        ValueError: another mapper than that of labels, or one that hides all of them.
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
    strange = labels[(labels >= num_classes) & (labels != ignore)]
    if strange.numel():
        raise ValueError(
            f"the labels of {batched_input.get('file_name', 'an image')} hold "
            f"{int(strange.max())}, and its dataset has {num_classes} classes; map them "
            f"to 0..{num_classes - 1}, or to MODEL.SEM_SEG_HEAD.IGNORE_VALUE"
        )


def check_unseen(cfg: CfgNode) -> None:
    """Refuse unseen classes that a training set does not have, before anything is built.

    A warning tells of names of class sets for a training set that has no class sets.

    Args:
        cfg: reads ``INPUT.SEMANTIC.UNSEEN`` and ``DATASETS.TRAIN``; sets that are not registered
            are left to the loader.

    Raises:
        ValueError: neither a class nor a class set of a training set.
    """
    for name in cfg.DATASETS.TRAIN:
        vocabulary = dataset_vocabulary(name)
        if vocabulary is None:
            continue
        unseen = cfg.INPUT.SEMANTIC.UNSEEN
        found = unseen_classes(unseen, vocabulary, name)
        if unseen and not found and not vocabulary.class_sets:
            _logger.warning(
                "dataset '%s' has no class sets, so that INPUT.SEMANTIC.UNSEEN %s hides none of "
                "its %d classes: all of them are trained on",
                name,
                list(unseen),
                len(vocabulary),
            )


def unseen_classes(unseen: Sequence[str], vocabulary: Vocabulary, dataset: str) -> tuple[int, ...]:
    """The classes of a dataset that ``INPUT.SEMANTIC.UNSEEN`` names, see `find_unseen`.

    Args:
        unseen: classes and class sets.
        vocabulary: of the dataset.
        dataset: its name.

    Raises:
        ValueError: one of them is neither.
    """
    where = f"dataset {dataset!r}"
    return _found(lambda: find_unseen(unseen, vocabulary.names, vocabulary.class_sets), where)


def _found(find: Callable[[], tuple[int, ...]], where: str) -> tuple[int, ...]:
    try:
        return find()
    except ValueError as error:
        raise ValueError(f"INPUT.SEMANTIC.UNSEEN, {where}: {error}") from error


class LabelledTraining(PixelScoringModel):
    """What training on label maps takes of a batch: labels, words, and which words are unseen."""

    def __init__(self, inputs: InputReader, *, unseen: tuple[str, ...] = ()) -> None:
        """Keep the names of unseen classes.

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

    def padded(
        self, batched_inputs: Sequence[dict[str, Any]], segmenter: TextSegmenter, ignore: int
    ) -> list[dict[str, Any]]:
        """A batch in whole strides of a network; what is added has the ignore label.

        Args:
            batched_inputs: dicts with ``image`` and ``sem_seg``.
            segmenter: the network that is trained.
            ignore: the label.
        """
        stride = (segmenter.stride, segmenter.stride)
        return self._pad(batched_inputs, stride, {"image": GREY, "sem_seg": ignore})

    def labels_of(self, batched_inputs: Sequence[dict[str, Any]], ignore: int) -> Tensor:
        """(B, H, W) int64 of inputs with ``sem_seg``.

        Args:
            batched_inputs: of a training step.
            ignore: label of pixels that do not count.

        Raises:
            ValueError: one is without, or holds a label beyond its classes.
        """
        if any("sem_seg" not in each for each in batched_inputs):
            raise ValueError(
                "training images come without sem_seg; set INPUT.TRAIN_MAPPER to semantic"
            )
        for each in batched_inputs:
            check_labels(each, len(self.vocabulary_of(each)), ignore)
        return torch.stack([each["sem_seg"] for each in batched_inputs]).to(self.device)

    def training_texts(
        self, batched_inputs: Sequence[dict[str, Any]]
    ) -> tuple[ClassTexts, tuple[int, ...]]:
        """Texts of a batch's classes, one row each, and the classes that are unseen.

        Raises:
            ValueError: inputs of several vocabularies, unseen classes that are none of it, or
                several vectors a class.
        """
        vocabularies = {self.vocabulary_of(each) for each in batched_inputs}
        if len(vocabularies) > 1:
            raise ValueError(
                f"a training batch has {len(vocabularies)} vocabularies; train on datasets of the "
                "same classes"
            )
        (vocabulary,) = vocabularies
        if self.text_bank.synonyms == "max" and any(len(each) > 1 for each in vocabulary.synonyms):
            raise ValueError(
                "MODEL.TEXT.SYNONYMS max keeps several vectors a class, and pixels are trained on "
                "one; set it to mean or joined"
            )
        datasets = {each.get("dataset_name") for each in batched_inputs}
        unseen_ids = {self._unseen_ids_of(name, vocabulary) for name in datasets}
        if len(unseen_ids) > 1:
            raise ValueError(
                f"INPUT.SEMANTIC.UNSEEN {list(self._unseen)} means different classes of the "
                "training datasets; train on datasets whose classes have the same places"
            )
        return self.text_bank.class_texts(vocabulary), unseen_ids.pop()

    def _unseen_ids_of(self, dataset_name: str | None, vocabulary: Vocabulary) -> tuple[int, ...]:
        """By the names that the dataset has for its classes, as its mapper goes by them."""
        own = None if dataset_name is None else self.inputs.own_vocabulary(dataset_name)
        if dataset_name is None or own is None or len(own) != len(vocabulary):
            names, class_sets = vocabulary.names, vocabulary.class_sets
            return _found(lambda: find_classes(self._unseen, names, class_sets), "the vocabulary")
        return unseen_classes(self._unseen, own, dataset_name)
