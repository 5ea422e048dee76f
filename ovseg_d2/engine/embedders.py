"""What evaluations of whole images ask of a model: vectors and scores from its CLIP.

They answer as a meta-architecture does, so that detectron2's loop drives them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..clip import CLIPTower
from ..data.readers import read_captions
from ..plugin import OpenVocabularyModel

__all__ = ["EMBEDDERS", "CaptionEmbedder", "ClassScorer", "ImageEmbedder", "with_embedder"]


class ImageEmbedder(nn.Module):
    """Gives ``image_feats`` of each image: the tower's vector at its own length.

    Images are resized to the size that the tower was trained at, whatever their aspect ratio, so
    that crops of objects are seen whole.
    Departs: [clip] resizes the shorter side and cuts out the middle.
    """

    def __init__(self, model: OpenVocabularyModel) -> None:
        """Take a model whose words and images share a CLIP."""
        super().__init__()
        self.model = model
        self.train(model.training)  # evaluation puts the mode back that it finds here

    @property
    def tower(self) -> CLIPTower:
        """The CLIP of the weights of the moment."""
        return self.model.text_bank.tower

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``image_feats`` (D,) of each input's ``image``."""
        return [{"image_feats": feats} for feats in self.encode(batched_inputs)]

    def encode(self, batched_inputs: list[dict[str, Any]]) -> Tensor:
        """(B, D), raw."""
        images = [self._resize(self.model.rgb_image(each)) for each in batched_inputs]
        tower = self.tower
        return tower.encode_image(tower.normalize(torch.cat(images)), unit_norm=False)

    def _resize(self, image: Tensor) -> Tensor:
        size = self.tower.image_size
        if tuple(image.shape[-2:]) == tuple(size):
            return image
        return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 255)


class ClassScorer(ImageEmbedder):
    """Gives ``class_scores`` of each image: its cosines with the words of its vocabulary."""

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """``class_scores`` (K,); of a class's synonyms the best where the policy keeps them."""
        embeds = F.normalize(self.encode(batched_inputs), dim=-1)
        outputs = []
        for each, image_embeds in zip(batched_inputs, embeds, strict=True):
            texts = self.model.class_texts(each)
            scores = texts.embeds @ image_embeds.to(texts.embeds)
            outputs.append({"class_scores": texts.best_of_words(scores, dim=0)})
        return outputs


class CaptionEmbedder(ImageEmbedder):
    """Gives ``image_embeds`` of each image, its ``captions`` and their ``text_embeds``."""

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All of unit norm; each different caption of the batch is encoded once."""
        captions = [list(read_captions(each)) for each in batched_inputs]
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
    """A model as the evaluator of a type needs it; the model itself for all other types.

    Raises:
        ValueError: a model that has no CLIP with words and images.
    """
    if evaluator_type not in EMBEDDERS:
        return model
    model = model.module if isinstance(model, DistributedDataParallel) else model
    if not isinstance(model, OpenVocabularyModel):
        raise ValueError(
            f"{type(model).__name__} gives no vectors of whole images, which the evaluation "
            f"{evaluator_type!r} needs; choose a MODEL.META_ARCHITECTURE that stands on a CLIP, or "
            "another dataset in DATASETS.TEST"
        )
    return EMBEDDERS[evaluator_type](model)
