"""Mask-category pairs of a labelled dataset: masks and names of its classes."""

import logging
from typing import Any

import numpy as np

from ...d2.data import MetadataCatalog
from ...masks import MaskPair, encode_masks
from ...vocab import metadata_vocabulary
from .. import shapes
from ..labels import LabelReader
from ..readers import LabelFileError
from ..sampler import Draw, sample_rng

__all__ = ["LabelPairs"]

_logger = logging.getLogger(__name__)


class LabelPairs:
    """Draws mask-category pairs from the labels of a dataset without mined pairs.

    Paper: [ovseg] Sec. 3.2, the alternative to nouns of captions: masks of the ground truth with
    the names of their classes.
    """

    def __init__(self) -> None:
        """Start without metadata, which are looked up once for each dataset."""
        self._read_labels = LabelReader(strict=False)
        self._words: dict[str, tuple[str, ...]] = {}

    def draw(self, dataset_dict: dict[str, Any], draw: Draw) -> MaskPair:
        """Draw one of the classes in an image's labels.

        Args:
            dataset_dict: one entry of a dataset, with ``sem_seg_file_name`` and ``dataset_name``.
            draw: position in the stream, the source of all randomness.

        Raises:
            LabelFileError: the label file is missing, cannot be read, or holds no class.
            ValueError: the entry has no labels, its dataset has no classes, or it is of the Shapes
                world, whose labels hold classes that are hidden in training.
        """
        words = self._words_of(dataset_dict)
        try:
            labels = self._read_labels(dataset_dict)
        except FileNotFoundError as error:
            raise LabelFileError(str(error)) from error
        classes = np.unique(labels)
        classes = classes[(classes >= 0) & (classes < len(words))]
        if not len(classes):
            raise LabelFileError(f"{dataset_dict['sem_seg_file_name']} holds no class")
        number = int(sample_rng(draw, purpose=2).choice(classes))
        (rle,) = encode_masks((labels == number)[None])
        return MaskPair(dataset_dict["file_name"], rle, words[number])

    def _words_of(self, dataset_dict: dict[str, Any]) -> tuple[str, ...]:
        name, dataset = dataset_dict.get("file_name"), dataset_dict.get("dataset_name", "")
        vocabulary = None
        if "sem_seg_file_name" in dataset_dict and dataset and not shapes.is_shapes_name(name):
            if dataset in self._words:
                return self._words[dataset]
            vocabulary = metadata_vocabulary(MetadataCatalog.get(dataset), f"dataset {dataset!r}")
        if vocabulary is None:
            raise ValueError(
                f"{name}: its entry has no mask and noun under 'pair'; name a file of pairs in "
                "DATASETS.TRAIN, made with tools/mine_pairs.py"
            )
        _logger.warning(
            "dataset '%s' has no mask-category pairs: the masks and names of its %d classes are "
            "used instead; tools/mine_pairs.py makes pairs from captions",
            dataset,
            len(vocabulary),
        )
        self._words[dataset] = tuple(words[0] for words in vocabulary.synonyms)
        return self._words[dataset]
