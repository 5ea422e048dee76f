"""TextSegmenter: a segmentation network that classifies pixels by text embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ovseg_d2.nets import DenseNetwork, TextClassifier
from ovseg_d2.ops import merge_background, score_bands
from ovseg_d2.text import ClassTexts

from .pixel_scorer import PixelScorer

__all__ = ["TextSegmenter"]

Size = tuple[int, int]


class TextSegmenter(PixelScorer):
    """Score pixels by the network's dense features and text embeddings.

    Scores of pixels are logits; probabilities, if a class has several rows.

    Args:
        network: images -> features of the joint space.
        classifier: features and texts -> logits.
    """

    def __init__(self, network: DenseNetwork, classifier: TextClassifier) -> None:
        """Take the parts as documented by the class."""
        super().__init__()
        self.network = network
        self.classifier = classifier

    @property
    def stride(self) -> int:
        """Distance of neighbouring logits in pixels."""
        return self.network.stride

    def forward(
        self, images: Tensor, text_embeds: Tensor, *, background_rows: Sequence[int] = ()
    ) -> Tensor:
        """Logits on the network's grid, which covers the images padded to whole strides.

        Args:
            images: (B, 3, H, W) RGB in 0..255, any size.
            text_embeds: (K, D) unit norm.
            background_rows: rows of background, used if the classifier learns a background.

        Returns:
            (B, K, h, w) with h = ceil(H / stride).
        """
        return self.classifier(self.network(images), text_embeds, background_rows)

    def check_size(self, size: Size) -> None:
        """Refuse training images that are not whole strides, where labels and logits misalign.

        Raises:
            ValueError: the stride does not divide both sides.
        """
        if size[0] % self.stride or size[1] % self.stride:
            raise ValueError(
                f"training images have {size[0]}x{size[1]} pixels, and the network's stride of "
                f"{self.stride} does not divide both; choose INPUT.CROP.SIZE in multiples of "
                f"{self.stride}, or a network of another stride"
            )

    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""
        scores = self(image[None], texts.embeds, background_rows=texts.background_rows)[0]
        if texts.class_ids is not None:
            scores = texts.best_of_words(scores.softmax(dim=0))
        grid = _finite(merge_background(scores, texts.background_ids))
        height, width = image.shape[1], image.shape[2]
        for _, band in score_bands(
            grid[None],
            [(0, 0, width, height)],
            (height, width),
            padded_size=(height + -height % self.stride, width + -width % self.stride),
            out_size=out_size,
        ):
            yield band


def _finite(scores: Tensor) -> Tensor:
    """Replace -inf by a score below all others: interpolation of -inf gives NaN."""
    lowest = scores[scores.isfinite()].min() - 1
    return torch.where(scores.isfinite(), scores, lowest)
