"""Embeddings and class scores of whole images from a model's CLIP, for their evaluators."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..clip import CLIPTower
from ..data.readers import read_captions
from ..plugin import OpenVocabularyModel
from .model_wrapper import ModelWrapper

__all__ = ["EMBEDDERS", "CaptionEmbedder", "ClassScorer", "ImageEmbedder", "with_embedder"]


class ImageEmbedder(ModelWrapper):
    """Gives ``image_feats`` of each image: the tower's vector, not normalised.

    The model is an `OpenVocabularyModel`. Images are resized to the tower's training size without
    keeping their aspect ratio, so that crops of objects stay whole.
    Departs: [clip] resizes the shorter side and cuts out the middle.
    """

    @property
    def tower(self) -> CLIPTower:
        """The model's CLIP with its current weights."""
        return self.model.text_bank.tower

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``image_feats`` (D,) of each input's ``image``."""
        return [{"image_feats": feats} for feats in self.encode(batched_inputs)]

    def encode(self, batched_inputs: list[dict[str, Any]]) -> Tensor:
        """(B, D) embeddings, not normalised."""
        images = [self._resize(self.model.rgb_image(entry)) for entry in batched_inputs]
        tower = self.tower
        return tower.encode_image(tower.normalize(torch.cat(images)), unit_norm=False)

    def _resize(self, image: Tensor) -> Tensor:
        size = self.tower.image_size
        if tuple(image.shape[-2:]) == tuple(size):
            return image
        return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 255)


class ClassScorer(ImageEmbedder):
    """Gives ``class_scores`` of each image: its cosines with the classes of its vocabulary."""

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``class_scores`` (K,); a class scores as its best synonym where synonyms are kept."""
        embeds = F.normalize(self.encode(batched_inputs), dim=-1)
        outputs = []
        for entry, image_embeds in zip(batched_inputs, embeds, strict=True):
            texts = self.model.class_texts(entry)
            scores = texts.embeds @ image_embeds.to(texts.embeds)
            outputs.append({"class_scores": texts.best_of_words(scores, dim=0)})
        return outputs


class CaptionEmbedder(ImageEmbedder):
    """Gives ``image_embeds`` of each image, its ``captions`` and their ``text_embeds``."""

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Unit-norm embeddings; equal captions of the batch are encoded once."""
        captions = [list(read_captions(entry)) for entry in batched_inputs]
        embeds = F.normalize(self.encode(batched_inputs), dim=-1)
        unique = sorted({text for texts in captions for text in texts})
        rows = {text: row for row, text in enumerate(unique)}
        text_embeds = self.tower.encode_text(self.tower.tokenize(unique).to(embeds.device))
        return [
            {
                "image_embeds": image_embeds,
                "captions": texts,
                "text_embeds": text_embeds[[rows[text] for text in texts]],
            }
            for texts, image_embeds in zip(captions, embeds, strict=True)
        ]


# By the ``evaluator_type`` of a dataset's metadata.
EMBEDDERS: dict[str, type[ImageEmbedder]] = {
    "classification": ClassScorer,
    "retrieval": CaptionEmbedder,
    "linear_probe": ImageEmbedder,
}


def with_embedder(evaluator_type: str, model: nn.Module) -> nn.Module:
    """The model's embedder for an ``evaluator_type``; the model itself for all other types.

    Raises:
        ValueError: the model has no CLIP with texts and images.
    """
    if evaluator_type not in EMBEDDERS:
        return model
    model = model.module if isinstance(model, DistributedDataParallel) else model
    if not isinstance(model, OpenVocabularyModel):
        raise ValueError(
            f"{type(model).__name__} gives no embeddings of whole images, which the evaluation "
            f"{evaluator_type!r} needs; choose a MODEL.META_ARCHITECTURE that is built on a CLIP, "
            "or another dataset in DATASETS.TEST"
        )
    return EMBEDDERS[evaluator_type](model)
