"""Base classes of the meta-architectures: a vocabulary per input, scores of every pixel."""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..clip import CLIPTower, Training, adopt_training, image_advice
from ..d2.config import CfgNode
from ..image_errors import memory_for
from ..ops import correct_scores
from ..systems import PixelScorer
from ..text import ClassTexts, TextBank
from ..vocab import Vocabulary, Words
from ..weight_files import first_not_finite
from .arrival import awaited_parts, check_arrival, check_shared, take_release
from .dtypes import supported_dtype
from .inputs import InputReader, image_name
from .pixel_range import check_pixel_range

__all__ = ["OpenVocabularyModel", "PixelScoringModel"]

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class OpenVocabularyModel(nn.Module):
    """Base class of models that take detectron2's input dicts, which may differ in vocabulary.

    :class:`InputReader` defines where the vocabulary of an input comes from.

    Attributes:
        inputs: the reader of input dicts.
        may_answer: whether the model may predict: True once weights were loaded or trained, or
            where a user sets it for random weights.
    """

    def __init__(self, inputs: InputReader) -> None:
        """Build the base of a reader of input dicts."""
        super().__init__()
        self.inputs = inputs
        self.may_answer = False
        self._gave_image_advice = False
        self.register_load_state_dict_post_hook(_let_answer)

    @property
    def device(self) -> torch.device:
        """The device of the model's parameters."""
        return next(self.parameters()).device

    @property
    def needs_weights(self) -> bool:
        """Whether predictions are noise until a checkpoint is loaded."""
        return False

    def with_options(self, cfg: CfgNode) -> "OpenVocabularyModel":
        """Return a model on the same weights, with the options of another config for inference.

        Args:
            cfg: differs from the model's own config in keys that ``TEST.DATASETS`` takes alone, see
                :mod:`ovseg_d2.config.per_dataset`.

        Raises:
            ValueError: a value that a part refuses.
            FileNotFoundError: a word list that does not exist.
        """
        model = copy.copy(self)
        model.inputs = self.inputs.with_options(cfg)
        model._set_options(cfg)
        return model

    def _set_options(self, cfg: CfgNode) -> None:
        """Replace what reads options of inference beside the inputs' reader; by default nothing."""

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; a model that was in training mode once may predict."""
        self.may_answer = self.may_answer or mode
        return super().train(mode)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load weights; arguments and result are those of `torch.nn.Module`.

        Weights of a release are renamed, and give the model their activation and statistics, see
        `take_release`.

        Raises:
            ValueError: a weight is NaN or infinite; or the weights are of another model, or lack
                weights that the model needs from them.
        """
        name = first_not_finite(state_dict)
        if name is not None:
            raise ValueError(
                f"the weights for {type(self).__name__} are not finite: entry {name!r} has NaN or "
                "infinity; take weights from before the training diverged"
            )
        state_dict = take_release(self, state_dict)
        if not strict:
            check_shared(self, state_dict)
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        check_arrival(self, result.missing_keys)
        return result

    def adopt_training(self, training: Training) -> None:
        """Give the CLIP the activation and statistics of weights that it is about to hold."""
        for module in self.modules():
            if isinstance(module, CLIPTower):
                adopt_training(module, training)

    def check_answers(self) -> None:
        """Refuse to predict from random weights.

        Raises:
            ValueError: the network was neither loaded nor trained, or a part awaits its weights.
        """
        parts = awaited_parts(self)
        if parts:
            raise ValueError(
                f"the {parts[0]} of this {type(self).__name__} has random weights, because "
                "MODEL.WEIGHTS holds its own; load them, as DefaultPredictor and load_model do"
            )
        if self.needs_weights and not self.may_answer:
            raise ValueError(
                f"the network of this {type(self).__name__} has random weights; set MODEL.WEIGHTS "
                "to a checkpoint of its training, or the model's may_answer to True to predict "
                "from random weights"
            )

    @property
    def text_bank(self) -> TextBank:
        """The text bank of the inputs' reader."""
        return self.inputs.text_bank

    def set_vocabulary(self, classes: Words | None) -> None:
        """Set the default classes, see :meth:`InputReader.set_vocabulary`."""
        self.inputs.set_vocabulary(classes)

    def vocabulary_of(self, batched_input: dict[str, Any]) -> Vocabulary:
        """The vocabulary of an input, see :meth:`InputReader.vocabulary_of`."""
        return self.inputs.vocabulary_of(batched_input)

    def class_texts(self, batched_input: dict[str, Any]) -> ClassTexts:
        """Text embeddings of an input's vocabulary, with the reader's words and thresholds."""
        vocabulary = self.vocabulary_of(batched_input)
        texts = self.text_bank.class_texts(vocabulary, self.inputs.negative_words)
        return replace(texts, thresholds=self.inputs.thresholds_of(vocabulary))

    def rgb_image(self, batched_input: dict[str, Any]) -> Tensor:
        """(1, 3, H, W) float RGB of 0 to 255 on the model's device.

        In evaluation the first image that, by its file name, the CLIP was not trained for logs a
        warning.

        Raises:
            ValueError: in evaluation, pixels of another range, such as 0..1.
        """
        if not self.training:
            check_pixel_range(batched_input["image"])
        name = batched_input.get("file_name")
        if name is not None and not self.training and not self._gave_image_advice:
            advice = image_advice(self.text_bank.tower, name)
            self._gave_image_advice = advice is not None
            if advice:
                _logger.warning("%s", advice)
        return self.inputs.rgb_image(batched_input, self.device)

    def rgb_batch(self, batched_inputs: Sequence[dict[str, Any]]) -> Tensor:
        """(B, 3, H, W) float RGB of 0 to 255 of training inputs, see :meth:`rgb_image`.

        Raises:
            ValueError: images of different sizes.
        """
        shapes = {tuple(sample["image"].shape) for sample in batched_inputs}
        if len(shapes) > 1:
            raise ValueError(
                f"training images must be of one size, got {sorted(shapes)}; crop them, see "
                "INPUT.CROP"
            )
        return torch.cat([self.rgb_image(sample) for sample in batched_inputs])


class PixelScoringModel(OpenVocabularyModel):
    """Base class of models whose :attr:`scorer` segments single images for text classes."""

    @property
    def scorer(self) -> PixelScorer:
        """The system used for inference, on the current weights."""
        raise NotImplementedError(f"{type(self).__name__} has no scorer")

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Score the pixels of a batch, whose images may differ in size and vocabulary.

        Args:
            batched_inputs: dicts with ``image`` (3, h, w) of 0 to 255, and optionally ``height``
                and ``width`` of the result, ``classes``, ``dataset_name``.

        Returns:
            One dict per input with ``sem_seg``, (K, height, width) scores, whose argmax is the
            label; see the scorer's ``score_pixels``. With ``MODEL.MAP_CORRECTION`` also the scores
            before, ``uncorrected``, and ``map_correction``, a `MapCorrection`.

        Raises:
            ImageTooLargeError: memory does not suffice for an image.
        """
        return [self._run(self._output, entry) for entry in batched_inputs]

    @torch.no_grad()
    def segment(self, batched_inputs: list[dict[str, Any]]) -> list[Tensor]:
        """Label the pixels, (height, width) int64 per input, without holding all classes' scores.

        Arguments and errors are those of :meth:`forward`.
        """
        return [self._run(self._label, entry) for entry in batched_inputs]

    def _run(
        self, compute: Callable[[dict[str, Any]], _Result], batched_input: dict[str, Any]
    ) -> _Result:
        """Compute a result of one input; missing memory or operations are one sentence."""
        with memory_for(image_name(batched_input)), supported_dtype(self):
            return compute(batched_input)

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        return self.scorer.score_pixels(*self._arguments(batched_input))[0]

    def _label(self, batched_input: dict[str, Any]) -> Tensor:
        image, texts, size = self._arguments(batched_input)
        if self.inputs.corrector is None:
            return self.scorer.segment(image, texts, size)[0]
        correction = self.inputs.corrector(image[0], batched_input, size)
        return self.scorer.segment(image, texts, size, corrections=[correction])[0]

    def _output(self, batched_input: dict[str, Any]) -> dict[str, Any]:
        """The result of :meth:`forward` for one input."""
        scores = self._score(batched_input)
        if self.inputs.corrector is None:
            return {"sem_seg": scores}
        image, size = self.rgb_image(batched_input)[0], (scores.shape[1], scores.shape[2])
        correction = self.inputs.corrector(image, batched_input, size)
        corrected = correct_scores(scores, correction)
        return {"sem_seg": corrected, "uncorrected": scores, "map_correction": correction}

    def _arguments(self, batched_input: dict[str, Any]) -> tuple[Tensor, ClassTexts, Any]:
        """The image (1, 3, h, w), its texts, and the size (h, w) of the result."""
        self.check_answers()
        image = self.rgb_image(batched_input)
        size = batched_input.get("height", image.shape[-2])
        size = size, batched_input.get("width", image.shape[-1])
        return image, self.class_texts(batched_input), size


def _let_answer(module: OpenVocabularyModel, result: Any) -> None:
    """Allow predictions after the network's weights were loaded; a hook of ``load_state_dict``.

    A CLIP may have others; and a MaskFormer's release, which starts a training, has no classifier.
    """
    towers = [n for n, part in module.named_modules() if isinstance(part, CLIPTower)]
    clip = tuple(f"{name}." for name in towers)
    network = {name for name, _ in module.named_parameters() if not name.startswith(clip)}
    if network.isdisjoint(result.missing_keys):
        module.may_answer = True
