"""What all open-vocabulary meta-architectures share: the vocabulary, batches of input dicts."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..clip import CLIPTower, image_advice
from ..d2.config import CfgNode
from ..d2.data import DatasetCatalog, MetadataCatalog
from ..text import TextBank
from ..vocab import Vocabulary, Words, metadata_vocabulary, read_word_list, read_words
from ..weight_files import first_not_finite
from .build import build_text_bank
from .pixel_range import check_pixel_range
from .weights import check_pickled_weights

__all__ = [
    "OpenVocabularyModel",
    "config_vocabulary",
    "config_word_list",
    "dataset_vocabulary",
    "image_name",
    "open_vocabulary_options",
]

_logger = logging.getLogger(__name__)


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


def open_vocabulary_options(cfg: CfgNode, tower: CLIPTower) -> dict[str, Any]:
    """What a config says of the arguments of :class:`OpenVocabularyModel`.

    Args:
        cfg: reads ``MODEL.TEXT``, ``DATASETS.TEST``, ``INPUT.FORMAT`` and ``MODEL.WEIGHTS``.
        tower: whose text half reads the words.

    Raises:
        WeightFileError: ``MODEL.WEIGHTS`` hold code, see `check_pickled_weights`.
    """
    check_pickled_weights(cfg)
    return {
        "text_bank": build_text_bank(cfg, tower),
        "vocabulary": config_vocabulary(cfg),
        "word_list": config_word_list(cfg),
        "image_format": cfg.INPUT.FORMAT,
    }


def image_name(batched_input: dict[str, Any]) -> str:
    """What an error calls an input: its file's name, or its size."""
    if batched_input.get("file_name"):
        return str(batched_input["file_name"])
    if "image" not in batched_input:
        return "an image"
    height, width = batched_input["image"].shape[-2:]
    return f"an image of {width} x {height} pixels"


class OpenVocabularyModel(nn.Module):
    """A model that segments with words which may change from input to input.

    The vocabulary of an input comes from, in this order, its ``"classes"`` entry,
    :meth:`set_vocabulary`, the metadata of its ``"dataset_name"``, and the default given at
    construction. A word list given there takes the place of a dataset's own words.
    """

    def __init__(
        self,
        *,
        text_bank: TextBank,
        vocabulary: Vocabulary | None = None,
        word_list: Vocabulary | None = None,
        image_format: str = "RGB",
    ) -> None:
        """Put built parts together.

        Args:
            text_bank: turns vocabularies into embeddings.
            vocabulary: the default.
            word_list: other words for the datasets' classes, in their order.
            image_format: order of the input's channels, RGB or BGR.

        Raises:
            ValueError: another format.
        """
        super().__init__()
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"INPUT.FORMAT {image_format!r} is not one of RGB, BGR")
        self.image_format = image_format
        self.text_bank = text_bank
        self._default_vocabulary = vocabulary
        self._word_list = word_list
        self._set_vocabulary: Vocabulary | None = None
        # Weights that were loaded or are being trained may answer, and random ones that are wanted.
        self.may_answer = False
        self._gave_image_advice = False
        self.register_load_state_dict_post_hook(_let_answer)
        self._dataset_vocabularies: dict[str, tuple[tuple[Any, ...], Vocabulary | None]] = {}

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.parameters()).device

    @property
    def needs_weights(self) -> bool:
        """Whether what answers, beside CLIP, is random until weights of a training are loaded."""
        return False

    def train(self, mode: bool = True) -> nn.Module:
        """As of any module; a model that is being trained may answer in between."""
        self.may_answer = self.may_answer or mode
        return super().train(mode)

    def check_answers(self) -> None:
        """Refuse to answer with random weights.

        Raises:
            ValueError: the network that answers was neither loaded nor trained.
        """
        if self.needs_weights and not self.may_answer:
            raise ValueError(
                f"the network of this {type(self).__name__} that answers has random weights; set "
                "MODEL.WEIGHTS to a checkpoint of its training, or set the model's may_answer to "
                "True if the answers may mean nothing"
            )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights, as of any module.

        Raises:
            ValueError: a weight is NaN or infinite.
        """
        name = first_not_finite(state_dict)
        if name is not None:
            raise ValueError(
                f"the weights for {type(self).__name__} are not finite: entry {name!r} has NaN or "
                "infinity; take weights from before the training diverged"
            )
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

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
        own = self._own_vocabulary(name)
        if own is None or self._word_list is None:
            return own
        if len(self._word_list) != len(own):
            raise ValueError(
                f"MODEL.TEXT.WORD_LIST has {len(self._word_list)} classes and dataset {name!r} has "
                f"{len(own)}; choose a list of the same classes, or leave it empty"
            )
        return self._word_list

    def _own_vocabulary(self, name: str) -> Vocabulary | None:
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

    def embed_vocabulary(self, batched_input: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Text embeddings of an input's vocabulary.

        Returns:
            (K, D) unit norm and None; or, where the synonym policy keeps several rows a class,
            (R, D) and (R,) the class of each row.
        """
        vocabulary = self.vocabulary_of(batched_input)
        text_embeds, class_ids = self.text_bank.embed_rows(vocabulary)
        return text_embeds, None if len(text_embeds) == len(vocabulary) else class_ids

    def rgb_image(self, batched_input: dict[str, Any]) -> Tensor:
        """(1, 3, H, W) float RGB of 0 to 255 on the model's device.

        The first image to answer about whose file name shows that CLIP cannot know it draws a
        warning.

        Raises:
            ValueError: outside of training, pixels of another range, such as 0..1.
        """
        if not self.training:
            check_pixel_range(batched_input["image"])
        name = batched_input.get("file_name")
        if name is not None and not self.training and not self._gave_image_advice:
            advice = image_advice(self.text_bank.tower, name)
            self._gave_image_advice = advice is not None
            if advice:
                _logger.warning("%s", advice)
        image = batched_input["image"].to(self.device, torch.float32)
        if self.image_format == "BGR":
            image = image.flip(0)
        return image[None]

    def rgb_batch(self, batched_inputs: Sequence[dict[str, Any]]) -> Tensor:
        """(B, 3, H, W) of training inputs, as :meth:`rgb_image` gives each.

        Raises:
            ValueError: images of different sizes.
        """
        shapes = {tuple(each["image"].shape) for each in batched_inputs}
        if len(shapes) > 1:
            raise ValueError(
                f"training images must be of one size, got {sorted(shapes)}; crop them, see "
                "INPUT.CROP"
            )
        return torch.cat([self.rgb_image(each) for each in batched_inputs])


def _let_answer(module: OpenVocabularyModel, _: object) -> None:
    """Note that weights were loaded; a hook of ``load_state_dict``."""
    module.may_answer = True
