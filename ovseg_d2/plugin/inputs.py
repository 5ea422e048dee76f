"""`InputReader`: the images of a model's input dicts, and the words each is segmented with."""

import copy
from typing import Any

import torch
from torch import Tensor

from ..clip import CLIPTower
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..text import TextBank
from ..vocab import Vocabulary, Words, metadata_vocabulary, read_word_list, read_words
from .build import build_text_bank
from .weights import check_pickled_weights

__all__ = [
    "InputReader",
    "build_inputs",
    "config_vocabulary",
    "config_word_list",
    "dataset_vocabulary",
    "image_name",
]


def dataset_vocabulary(name: str) -> Vocabulary | None:
    """The classes of a registered dataset, or None where its metadata has none.

    Raises:
        ValueError: see :func:`~ovseg_d2.vocab.metadata_vocabulary`.
    """
    if name not in MetadataCatalog.list():
        return None
    return metadata_vocabulary(MetadataCatalog.get(name), f"dataset {name!r}")


def config_vocabulary(cfg: CfgNode) -> Vocabulary | None:
    """``MODEL.TEXT.CLASSES``, or the classes of the first test dataset that is registered."""
    if cfg.MODEL.TEXT.CLASSES:
        return read_words(cfg.MODEL.TEXT.CLASSES, "MODEL.TEXT.CLASSES")
    for name in cfg.DATASETS.TEST:
        if name in DatasetCatalog.list():
            return dataset_vocabulary(name)
    return None


def config_word_list(cfg: CfgNode) -> Vocabulary | None:
    """``MODEL.TEXT.WORD_LIST``, a word list of the package or a text file; None without one.

    Raises:
        FileNotFoundError: a path that leads to no file.
        ValueError: no word list of that name, or a file that is none.
    """
    name = cfg.MODEL.TEXT.WORD_LIST
    if not name:
        return None
    return read_word_list(name, "MODEL.TEXT.WORD_LIST")


def image_name(batched_input: dict[str, Any]) -> str:
    """What an error calls an input: its file's name, or its size."""
    if batched_input.get("file_name"):
        return str(batched_input["file_name"])
    if "image" not in batched_input:
        return "an image"
    height, width = batched_input["image"].shape[-2:]
    return f"an image of {width} x {height} pixels"


class InputReader:
    """Reads input dicts: pixels as RGB, words as embeddings.

    The vocabulary of an input comes from, in this order, its ``"classes"`` entry,
    :meth:`set_vocabulary`, the metadata of its ``"dataset_name"``, and the default given at
    construction. A word list given there takes the place of a dataset's own words.

    Args:
        text_bank: turns vocabularies into embeddings.
        vocabulary: the default.
        word_list: other words for the datasets' classes, in their order.
        image_format: order of the input's channels, RGB or BGR.

    Raises:
        ValueError: another format.
    """

    def __init__(
        self,
        text_bank: TextBank,
        *,
        vocabulary: Vocabulary | None = None,
        word_list: Vocabulary | None = None,
        image_format: str = "RGB",
    ) -> None:
        """Check the format."""
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT {image_format!r} is not one of RGB, BGR")
        self.text_bank = text_bank
        self.image_format = image_format
        self._default_vocabulary = vocabulary
        self._word_list = word_list
        self._set_vocabulary: Vocabulary | None = None
        self._dataset_vocabularies: dict[str, tuple[tuple[Any, ...], Vocabulary | None]] = {}

    @property
    def default_vocabulary(self) -> Vocabulary | None:
        """The vocabulary of an input that names neither classes nor a dataset."""
        return self._set_vocabulary or self._default_vocabulary

    def set_vocabulary(self, classes: Words | None) -> None:
        """Choose the words for all inputs that bring none of their own.

        Args:
            classes: as :func:`~ovseg_d2.vocab.read_words` takes them; None goes back to the
                datasets' own.
        """
        self._set_vocabulary = None if classes is None else read_words(classes)

    def vocabulary_of(self, batched_input: dict[str, Any]) -> Vocabulary:
        """The vocabulary that an input is segmented with.

        Raises:
            ValueError: nothing gives one, or a word list of another length than its dataset.
        """
        if batched_input.get("classes") is not None:
            return read_words(batched_input["classes"])
        if self._set_vocabulary is not None:
            return self._set_vocabulary
        name = batched_input.get("dataset_name")
        found = self._vocabulary_of_dataset(name) if name is not None else None
        found = found or self._default_vocabulary
        if found is None:
            raise ValueError(
                "no vocabulary: give the input a 'classes' entry, call set_vocabulary(...), or set "
                "MODEL.TEXT.CLASSES; at the demo's command line, --classes"
            )
        return found

    def _vocabulary_of_dataset(self, name: str) -> Vocabulary | None:
        """A dataset's own words, or those of the word list for its classes."""
        own = self.own_vocabulary(name)
        if own is None or self._word_list is None:
            return own
        if len(self._word_list) != len(own):
            raise ValueError(
                f"MODEL.TEXT.WORD_LIST has {len(self._word_list)} classes and dataset {name!r} has "
                f"{len(own)}; choose a list of the same classes, or leave it empty"
            )
        return self._word_list

    def own_vocabulary(self, name: str) -> Vocabulary | None:
        """The classes of a registered dataset by its own names; None where it has none."""
        if name not in MetadataCatalog.list():
            return None
        # Kept, for making one of hundreds of classes takes as long as small images do; but only
        # as long as the metadata are what they were.
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
    """The reader that ``MODEL.TEXT``, ``DATASETS.TEST`` and ``INPUT.FORMAT`` describe.

    Refuses ``MODEL.WEIGHTS`` that hold code, too, before anything is loaded.

    Args:
        cfg: the config.
        tower: whose text half reads the words.

    Raises:
        ValueError: words or a format that cannot be used.
        FileNotFoundError: a word list that is not there.
        WeightFileError: ``MODEL.WEIGHTS`` hold code, see `check_pickled_weights`.
    """
    check_pickled_weights(cfg)
    return InputReader(
        build_text_bank(cfg, tower),
        vocabulary=config_vocabulary(cfg),
        word_list=config_word_list(cfg),
        image_format=cfg.INPUT.FORMAT,
    )
