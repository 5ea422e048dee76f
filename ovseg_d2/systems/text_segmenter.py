"""A segmentation network whose classifier is text: any words, at the resolution of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ovseg_d2.nets import DenseNetwork, TextClassifier
from ovseg_d2.ops import dense_argmax, max_over_words, merge_background, upsample_scores

from .images import each_image, evaluating

__all__ = ["TextSegmenter"]

Size = tuple[int, int]


class TextSegmenter(nn.Module):
    """Dense features of a network, compared with text embeddings.

    Args:
        network: images to features of the joint space.
        classifier: features and texts to logits.
    """

    def __init__(self, network: DenseNetwork, classifier: TextClassifier) -> None:
        """Put built parts together."""
        super().__init__()
        self.network = network
        self.classifier = classifier

    @property
    def stride(self) -> int:
        """Pixels from logit to logit."""
        return self.network.stride

    def forward(
        self, images: Tensor, text_embeds: Tensor, *, background_rows: Sequence[int] = ()
    ) -> Tensor:
        """Logits on the network's grid, which covers images padded to whole strides.

        Args:
            images: (B, 3, H, W) RGB in 0..255, any size.
            text_embeds: (K, D) unit norm.
            background_rows: those of background, where that is learnt.

        Returns:
            (B, K, h, w) with h = ceil(H / stride).
        """
        return self.classifier(self.network(images), text_embeds, background_rows)

    def check_size(self, size: Size) -> None:
        """Refuse training images that are not whole strides: labels would not lie over logits.

        Raises:
            ValueError: the stride does not divide both sides.
        """
        if size[0] % self.stride or size[1] % self.stride:
            raise ValueError(
                f"training images have {size[0]}x{size[1]} pixels, and the network's stride of "
                f"{self.stride} does not divide both; choose INPUT.CROP.SIZE in multiples of "
                f"{self.stride}, or a network of another stride"
            )

    @torch.no_grad()
    def score_pixels(
        self,
        images: Tensor | Sequence[Tensor],
        text_embeds: Tensor,
        size: Size | Sequence[Size] | None = None,
        *,
        class_ids: Tensor | None = None,
        background_ids: Sequence[int] = (),
    ) -> Tensor | list[Tensor]:
        """Score every pixel for every class, in evaluation mode.

        Args:
            images: (B, 3, H, W) RGB in 0..255, or a sequence of (3, H, W) of different sizes.
            text_embeds: (K, D) unit norm; or (R, D), several rows a class.
            size: (h, w) of the scores, or one for each image; None means that of the images.
            class_ids: (R,) the class of each row: a class has the probability of its best word.
                None: rows are classes.
            background_ids: the classes that mean background; they become one, the first.

        Returns:
            (B, K, H, W) logits, or a list of (K, H, W); probabilities where there are class ids.

        Raises:
            ValueError: images of another shape, or sizes of another number.
        """
        asked = (text_embeds, class_ids, background_ids)
        found = [
            upsample_scores(grid, self._padded_size(image), _size_of(image), out)
            for grid, image, out in self._grids(images, size, *asked)
        ]
        return torch.stack(found) if isinstance(images, Tensor) else found

    @torch.no_grad()
    def segment(
        self,
        images: Tensor | Sequence[Tensor],
        text_embeds: Tensor,
        size: Size | Sequence[Size] | None = None,
        *,
        class_ids: Tensor | None = None,
        background_ids: Sequence[int] = (),
    ) -> Tensor | list[Tensor]:
        """Label every pixel, in evaluation mode; all scores at all pixels never exist.

        Args:
            images: as for `score_pixels`, like all that follow.
            text_embeds: likewise.
            size: likewise.
            class_ids: likewise.
            background_ids: likewise.

        Returns:
            (B, h, w) int64 class indices, or a list of (h, w).

        Raises:
            ValueError: as `score_pixels`.
        """
        asked = (text_embeds, class_ids, background_ids)
        found = [
            dense_argmax(
                grid,
                out or _size_of(image),
                crop=self._padded_size(image),
                image_size=_size_of(image),
            )
            for grid, image, out in self._grids(images, size, *asked)
        ]
        return torch.stack(found) if isinstance(images, Tensor) else found

    def _grids(
        self,
        images: Tensor | Sequence[Tensor],
        size: Size | Sequence[Size] | None,
        text_embeds: Tensor,
        class_ids: Tensor | None,
        background_ids: Sequence[int],
    ) -> Iterator[tuple[Tensor, Tensor, Size | None]]:
        """Scores (K, h, w) of each image, the image, and the size of its answer."""
        rows = list(background_ids)
        if class_ids is not None:
            rows = [row for row, each in enumerate(class_ids.tolist()) if each in rows]
        with evaluating(self):
            for image, out in each_image(images, size):
                scores = self(image[None], text_embeds, background_rows=rows)[0]
                if class_ids is not None:
                    num_classes = int(class_ids.max()) + 1
                    scores = max_over_words(scores.softmax(dim=0), class_ids, num_classes)
                yield _finite(merge_background(scores, background_ids)), image, out

    def _padded_size(self, image: Tensor) -> Size:
        height, width = _size_of(image)
        return height + -height % self.stride, width + -width % self.stride


def _size_of(image: Tensor) -> Size:
    return image.shape[1], image.shape[2]


def _finite(scores: Tensor) -> Tensor:
    """Classes that are out of the question get a finite score: interpolation multiplies by 0."""
    lowest = scores[scores.isfinite()].min() - 1
    return torch.where(scores.isfinite(), scores, lowest)
