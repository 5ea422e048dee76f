"""What all that segments with words has in common: scores and labels of every pixel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .images import each_image, evaluating

__all__ = ["PixelScorer", "join_labels", "join_scores"]

Size = tuple[int, int]


class PixelScorer(nn.Module, ABC):
    """Segments images with any words; a system says how one image is scored, band by band.

    The best class of a pixel is its label. What a score is the system says.
    """

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
        """Score every pixel for every class; holds all of it, see `segment` for labels alone.

        Args:
            images: as for `segment`, like all that follow.
            text_embeds: likewise.
            size: likewise.
            class_ids: likewise.
            background_ids: likewise.

        Returns:
            (B, K, H, W) floating, or a list of (K, H, W).

        Raises:
            ValueError: as `segment`.
        """
        asked = (text_embeds, class_ids, tuple(background_ids))
        with evaluating(self):
            found = (self._bands(image, out, *asked) for image, out in each_image(images, size))
            return join_scores(found, stacked=isinstance(images, Tensor))

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
        """Label every pixel; in evaluation mode whatever the mode of the parts, no gradient.

        All classes' scores at all pixels never exist.

        Args:
            images: (B, 3, H, W) RGB in 0..255, or a sequence of (3, H, W) of different sizes.
            text_embeds: (K, D) unit norm; or (R, D), several rows a class.
            size: (h, w) of the labels, or one for each image; None means that of the images.
            class_ids: (R,) the class of each row, from `TextBank.embed_rows`: a class has the
                probability of its best word. None: rows are classes.
            background_ids: the classes that mean background, `Vocabulary.background_ids`. They
                become one, the first, and so does what the system finds to be background.

        Returns:
            (B, h, w) int64 class indices, or a list of (h, w).

        Raises:
            ValueError: text embeddings that do not fit, images of another shape, sizes of another
                number, or what the system refuses.
        """
        asked = (text_embeds, class_ids, tuple(background_ids))
        with evaluating(self):
            found = (self._bands(image, out, *asked) for image, out in each_image(images, size))
            return join_labels(found, stacked=isinstance(images, Tensor))

    @abstractmethod
    def _bands(
        self,
        image: Tensor,
        out_size: Size | None,
        text_embeds: Tensor,
        class_ids: Tensor | None,
        background_ids: Sequence[int],
    ) -> Iterator[Tensor]:
        """Final scores (K, rows, W) of one image (3, H, W), band by band from the top."""


def join_scores(
    bands_of_images: Iterable[Iterable[Tensor]], *, stacked: bool
) -> Tensor | list[Tensor]:
    """Bands (K, rows, W) of each image put together: (B, K, H, W) or a list of (K, H, W)."""
    found = [torch.cat(list(bands), dim=1) for bands in bands_of_images]
    return torch.stack(found) if stacked else found


def join_labels(
    bands_of_images: Iterable[Iterable[Tensor]], *, stacked: bool
) -> Tensor | list[Tensor]:
    """The best class in bands (K, rows, W) of each image: (B, H, W) int64 or a list of (H, W)."""
    found = [torch.cat([band.argmax(dim=0) for band in bands]) for bands in bands_of_images]
    return torch.stack(found) if stacked else found
