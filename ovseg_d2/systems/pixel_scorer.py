"""What all that segments with words has in common: scores and labels of every pixel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ovseg_d2.image_errors import need_memory

from .images import each_image, evaluating

__all__ = ["PixelScorer", "join_labels", "join_scores", "need_score_memory"]

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
            ImageTooLargeError: memory does not suffice for the scores.
        """
        asked = (text_embeds, class_ids, tuple(background_ids))
        need_score_memory(images, size, text_embeds, class_ids)
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


def need_score_memory(
    images: Tensor | Sequence[Tensor],
    size: Size | Sequence[Size] | None,
    text_embeds: Tensor,
    class_ids: Tensor | None,
) -> None:
    """Refuse scores of all classes at all pixels that memory does not suffice for.

    Args:
        images: as for `PixelScorer.score_pixels`, like all that follow.
        size: likewise.
        text_embeds: likewise.
        class_ids: likewise.

    Raises:
        ImageTooLargeError: the scores of one image are more than what is free.
    """
    num_classes = len(text_embeds) if class_ids is None else int(class_ids.max()) + 1
    for image, out in each_image(images, size):
        height, width = (image.shape[1], image.shape[2]) if out is None else out
        need_memory(
            2 * 4 * num_classes * height * width,  # the bands, and beside them their sum
            image.device,
            f"the scores of {num_classes} classes at {width} x {height} pixels",
        )


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
