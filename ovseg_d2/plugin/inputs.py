"""`InputReader`: image and vocabulary of a model's input dicts."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..clip import CLIPTower
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..text import TextBank
from ..vocab import (
    Vocabulary,
    Words,
    metadata_vocabulary,
    read_thresholds,
    read_word_list,
    read_words,
)
from .clip_parts import build_text_bank
from .input_masks import MapCorrector, build_corrector
from .weights import check_pickled_weights

__all__ = [
    "InputReader",
    "build_inputs",
    "config_vocabulary",
    "config_word_list",
    "dataset_vocabulary",
    "image_name",
]

_THRESHOLDS = "MODEL.MASKCLIP.CLASS_THRESHOLDS"


def dataset_vocabulary(name: str) -> Vocabulary | None:
    """Return the classes of a registered dataset, or None if its metadata has none.

    Errors are those of :func:`~ovseg_d2.vocab.metadata_vocabulary`.
    """
    if name not in MetadataCatalog.list():
        return None
    return metadata_vocabulary(MetadataCatalog.get(name), f"dataset {name!r}")


def config_vocabulary(cfg: CfgNode) -> Vocabulary | None:
    """Return ``MODEL.TEXT.CLASSES``, or the classes of the first registered test dataset."""
    if cfg.MODEL.TEXT.CLASSES:
        return read_words(cfg.MODEL.TEXT.CLASSES, "MODEL.TEXT.CLASSES")
    for name in cfg.DATASETS.TEST:
        if name in DatasetCatalog.list():
            return dataset_vocabulary(name)
    return None


def config_word_list(cfg: CfgNode) -> Vocabulary | None:
    """Read ``MODEL.TEXT.WORD_LIST``, a word list of the package or a text file; None for ''.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: an unknown word list, or a file that is no word list.
    """
    name = cfg.MODEL.TEXT.WORD_LIST
    return read_word_list(name, "MODEL.TEXT.WORD_LIST") if name else None


def _config_negative_words(cfg: CfgNode) -> tuple[str, ...]:
    """All words of the list that ``MODEL.TEXT.NEGATIVE_WORDS`` names; () for ''."""
    name = cfg.MODEL.TEXT.NEGATIVE_WORDS
    if not name:
        return ()
    listed = read_word_list(name, "MODEL.TEXT.NEGATIVE_WORDS")
    return tuple(dict.fromkeys(word for words in listed.synonyms for word in words))


def image_name(batched_input: dict[str, Any]) -> str:
    """Return the name of an input for errors: its file's name, or its size."""
    if batched_input.get("file_name"):
        return str(batched_input["file_name"])
    if "image" not in batched_input:
        return "an image"
    height, width = batched_input["image"].shape[-2:]
    return f"an image of {width} x {height} pixels"


class InputReader:
    """Reads image and vocabulary of input dicts.

    The vocabulary of an input comes from, in this order, its ``"classes"`` entry,
    :meth:`set_vocabulary`, the metadata of its ``"dataset_name"``, and the default.

    Args:
        text_bank: encodes vocabularies.
        vocabulary: the default.
        word_list: replaces the words of the datasets' classes, in the same order.
        negative_words: words that count as background, see `TextBank.class_texts`.
        class_thresholds: class -> probability that it must reach, see `thresholds_of`.
        image_format: order of the input's channels, RGB or BGR.
        corrector: makes the map correction of an input; None corrects nothing.

    Raises:
        ValueError: an unknown format.
    """

    def __init__(
        self,
        text_bank: TextBank,
        *,
        vocabulary: Vocabulary | None = None,
        word_list: Vocabulary | None = None,
        negative_words: Sequence[str] = (),
        class_thresholds: Mapping[str, float] | None = None,
        image_format: str = "RGB",
        corrector: MapCorrector | None = None,
    ) -> None:
        """Build a reader."""
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT {image_format!r} is not one of RGB, BGR")
        self.text_bank = text_bank
        self.negative_words = tuple(negative_words)
        self._class_thresholds = dict(class_thresholds or {})
        self.image_format = image_format
        self.corrector = corrector
        self._default_vocabulary = vocabulary
        self._word_list = word_list
        self._set_vocabulary: Vocabulary | None = None
        self._dataset_vocabularies: dict[str, tuple[tuple[Any, ...], Vocabulary | None]] = {}

    @property
    def default_vocabulary(self) -> Vocabulary | None:
        """The vocabulary of inputs without classes and dataset."""
        return self._set_vocabulary or self._default_vocabulary

    def set_vocabulary(self, classes: Words | None) -> None:
        """Set the vocabulary of all inputs without a ``"classes"`` entry.

        Args:
            classes: as :func:`~ovseg_d2.vocab.read_words` takes them; None restores the datasets'
                own classes.
        """
        self._set_vocabulary = None if classes is None else read_words(classes)

    def with_options(self, cfg: CfgNode) -> "InputReader":
        """Return a reader by the keys of another config, on the same tower.

        It has the vocabulary of :meth:`set_vocabulary`. Errors are those of :func:`build_inputs`.
        """
        reader = _build_reader(cfg, self.text_bank.tower)
        reader._set_vocabulary = self._set_vocabulary
        return reader

    def vocabulary_of(self, batched_input: dict[str, Any]) -> Vocabulary:
        """Return the vocabulary that an input is segmented with.

        Raises:
            ValueError: there is none, or a word list of another length than its dataset.
        """
        if batched_input.get("classes") is not None:
            return read_words(batched_input["classes"])
        if self._set_vocabulary is not None:
            return self._set_vocabulary
        name = batched_input.get("dataset_name")
        vocabulary = self.dataset_words(name) if name is not None else None
        vocabulary = vocabulary or self._default_vocabulary
        if vocabulary is None:
            raise ValueError(
                "no vocabulary: give the input a 'classes' entry, call set_vocabulary(...), or set "
                "MODEL.TEXT.CLASSES; at the demo's command line, --classes"
            )
        return vocabulary

    def dataset_words(self, name: str) -> Vocabulary | None:
        """Return a dataset's classes, in the words of the word list if there is one.

        Returns:
            The classes; None if the dataset has none.

        Raises:
            ValueError: a word list of another length.
        """
        vocabulary = self.own_vocabulary(name)
        if vocabulary is None or self._word_list is None:
            return vocabulary
        if len(self._word_list) != len(vocabulary):
            raise ValueError(
                f"MODEL.TEXT.WORD_LIST has {len(self._word_list)} classes and dataset {name!r} has "
                f"{len(vocabulary)}; choose a list of the same classes, or leave it empty"
            )
        return self._word_list

    def check_words(self, name: str) -> None:
        """Refuse a word list that does not fit a dataset, unless :meth:`set_vocabulary` counts."""
        if self._set_vocabulary is None:
            self.dataset_words(name)

    def thresholds_of(self, vocabulary: Vocabulary) -> Tensor | None:
        """Return the thresholds (K,) of a vocabulary's classes, NaN for those without one.

        Returns:
            None if no class of any vocabulary has a threshold.

        Raises:
            ValueError: a threshold's class is not in the vocabulary.
        """
        if not self._class_thresholds:
            return None
        thresholds = torch.full((len(vocabulary),), torch.nan)
        for name, threshold in self._class_thresholds.items():
            try:
                thresholds[vocabulary.index(name)] = threshold
            except ValueError as error:
                raise ValueError(f"{_THRESHOLDS}: {error}; remove it or choose another") from error
        return thresholds

    def own_vocabulary(self, name: str) -> Vocabulary | None:
        """Return the classes of a registered dataset by its own names; None if it has none."""
        if name not in MetadataCatalog.list():
            return None
        # Cached until the metadata change: building hundreds of classes takes as long as segmenting
        # a small image.
        metadata = MetadataCatalog.get(name)
        content = tuple(metadata.get(key) for key in ("vocabulary", "stuff_classes", "class_sets"))
        kept = self._dataset_vocabularies.get(name)
        if kept is None or kept[0] != content:
            kept = (copy.deepcopy(content), dataset_vocabulary(name))
            self._dataset_vocabularies[name] = kept
        return kept[1]

    def rgb_image(self, batched_input: dict[str, Any], device: torch.device) -> Tensor:
        """(1, 3, H, W) float RGB of 0 to 255 on a device."""
        image = batched_input["image"].to(device, torch.float32)
        if self.image_format == "BGR":
            image = image.flip(0)
        return image[None]


def build_inputs(cfg: CfgNode, tower: CLIPTower) -> InputReader:
    """Build the reader of ``MODEL.TEXT``, ``.MAP_CORRECTION``, ``DATASETS.TEST``, ``INPUT.FORMAT``.

    ``MODEL.WEIGHTS`` that hold code are refused here, before anything is loaded.

    Args:
        cfg: the config.
        tower: whose text half encodes the vocabularies.

    Raises:
        ValueError: invalid classes, an unknown format, or those of `build_corrector`.
        FileNotFoundError: a word list or a checkpoint of masks that does not exist.
        WeightFileError: ``MODEL.WEIGHTS`` hold code, see `check_pickled_weights`.
    """
    check_pickled_weights(cfg)
    return _build_reader(cfg, tower)


def _build_reader(cfg: CfgNode, tower: CLIPTower) -> InputReader:
    return InputReader(
        build_text_bank(cfg, tower),
        vocabulary=config_vocabulary(cfg),
        word_list=config_word_list(cfg),
        negative_words=_config_negative_words(cfg),
        class_thresholds=read_thresholds(cfg.MODEL.MASKCLIP.CLASS_THRESHOLDS, _THRESHOLDS),
        image_format=cfg.INPUT.FORMAT,
        corrector=build_corrector(cfg),
    )
