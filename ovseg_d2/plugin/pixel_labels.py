"""Training of pixel-scoring models on label maps that hide some of a dataset's classes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..d2.config import CfgNode
from ..text import ClassTexts
from ..vocab import Vocabulary, find_classes
from .inputs import InputReader, dataset_vocabulary
from .open_vocabulary import PixelScoringModel

__all__ = ["LabelledTraining", "check_labels", "check_labels_are_read", "check_unseen"]


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

    Args:
        cfg: reads ``INPUT.SEMANTIC.UNSEEN`` and ``DATASETS.TRAIN``; sets that are not registered
            are left to whoever loads them.

    Raises:
        ValueError: neither a class nor a class set of a training set.
    """
    for name in cfg.DATASETS.TRAIN:
        vocabulary = dataset_vocabulary(name)
        if vocabulary is not None:
            _unseen_ids(cfg.INPUT.SEMANTIC.UNSEEN, vocabulary, f"dataset {name!r}")


def _unseen_ids(unseen: Sequence[str], vocabulary: Vocabulary, where: str) -> tuple[int, ...]:
    try:
        return find_classes(unseen, vocabulary.names, vocabulary.class_sets)
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

    @property
    def needs_weights(self) -> bool:
        """Always True: part of the network starts from random weights."""
        return True

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
        if own is None or len(own) != len(vocabulary):
            return _unseen_ids(self._unseen, vocabulary, "the vocabulary")
        return _unseen_ids(self._unseen, own, f"dataset {dataset_name!r}")
