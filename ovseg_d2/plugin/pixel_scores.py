"""Models that answer with scores of pixels, whatever scores them."""

from typing import Any, Literal

import torch
from torch import Tensor

from ..image_errors import memory_for
from ..systems import PixelScorer
from .base import OpenVocabularyModel, image_name
from .dtypes import supported_dtype

__all__ = ["PixelScoringModel"]


class PixelScoringModel(OpenVocabularyModel):
    """A model whose :attr:`scorer` segments single images with text embeddings."""

    @property
    def scorer(self) -> PixelScorer:
        """What answers, on the weights of the moment."""
        raise NotImplementedError(f"{type(self).__name__} says nothing of its scorer")

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Segment a batch; images may differ in size and in vocabulary.

        Args:
            batched_inputs: dicts with ``image`` (3, h, w) of 0 to 255, and optionally ``height``
                and ``width`` of the answer, ``classes``, ``dataset_name``.

        Returns:
            For each, ``sem_seg``: (K, height, width) scores, the best of which is a pixel's label;
            see the scorer's ``score_pixels``.

        Raises:
            ImageTooLargeError: memory does not suffice for an image.
        """
        return [{"sem_seg": self._answer(each, "score_pixels")} for each in batched_inputs]

    @torch.no_grad()
    def segment(self, batched_inputs: list[dict[str, Any]]) -> list[Tensor]:
        """Labels alone, (height, width) long for each input; never holds all classes' scores.

        Raises:
            ImageTooLargeError: as :meth:`forward`.
        """
        return [self._answer(each, "segment") for each in batched_inputs]

    def _answer(
        self, batched_input: dict[str, Any], method: Literal["score_pixels", "segment"]
    ) -> Tensor:
        """What a method of the scorer gives for one input."""
        with memory_for(image_name(batched_input)), supported_dtype(self):
            args, words = self._arguments(batched_input)
            return getattr(self.scorer, method)(*args, **words)[0]

    def _arguments(self, batched_input: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the system is asked: image, embeddings and size; classes of the embeddings."""
        self.check_answers()
        image = self.rgb_image(batched_input)
        text_embeds, class_ids = self.embed_vocabulary(batched_input)
        size = batched_input.get("height", image.shape[-2])
        size = size, batched_input.get("width", image.shape[-1])
        words = {
            "class_ids": class_ids,
            "background_ids": self.vocabulary_of(batched_input).background_ids,
        }
        return (image, text_embeds, size), words
