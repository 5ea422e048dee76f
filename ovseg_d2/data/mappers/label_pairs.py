"""Mask-category pairs of a labelled dataset: the masks of its classes, and their names."""

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
    """Takes the place of mined pairs where a dataset has labels alone.

    Paper: [ovseg] Sec. 3.2, the alternative to nouns of captions: the truth's masks with the names
    of their classes.
    """

    def __init__(self) -> None:
        """Metadata are looked up once for each dataset."""
        self._read_labels = LabelReader(strict=False)
        self._words: dict[str, tuple[str, ...]] = {}

    def draw(self, dataset_dict: dict[str, Any], draw: Draw) -> MaskPair:
        """Draw one of the classes that an image's labels hold.

        Args:
            dataset_dict: one entry of a dataset, with ``sem_seg_file_name`` and ``dataset_name``.
            draw: where the sample lies in the stream; all randomness comes from it.

        Raises:
            LabelFileError: the label file is missing, cannot be read, or holds no class.
            ValueError: the entry has no labels, is of the Shapes world, whose labels hold classes
                that training does not see, or is of a dataset without classes.
        """
        words = self._words_of(dataset_dict)
        try:
            labels = self._read_labels(dataset_dict)
        except FileNotFoundError as error:
            raise LabelFileError(str(error)) from error
        found = np.unique(labels)
        found = found[(found >= 0) & (found < len(words))]
        if not len(found):
            raise LabelFileError(f"{dataset_dict['sem_seg_file_name']} holds no class")
        number = int(sample_rng(draw, purpose=2).choice(found))
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
            "dataset '%s' has no mask-category pairs: the masks of its %d classes and their names "
            "take their place; tools/mine_pairs.py makes pairs of captions",
            dataset,
            len(vocabulary),
        )
        self._words[dataset] = tuple(words[0] for words in vocabulary.synonyms)
        return self._words[dataset]
