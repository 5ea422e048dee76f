"""Base class of systems that score every pixel for text classes.

Shape shorthand: B images, K classes, R rows of text, D joint embedding, H x W pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from ovseg_d2.image_errors import need_memory
from ovseg_d2.ops import MapCorrection, check_owners, correct_labels, mask_scores
from ovseg_d2.text import ClassTexts

__all__ = ["PixelScorer", "each_image", "evaluating", "need_score_memory"]

Size = tuple[int, int]


class PixelScorer(nn.Module, ABC):
    """Scores and labels images; a subclass scores one image, band by band.

    A pixel's label is the class with the best score. The subclass defines the unit of the scores.
    """

    @torch.no_grad()
    def score_pixels(
        self,
        images: Tensor | Sequence[Tensor],
        texts: ClassTexts,
        size: Size | Sequence[Size] | None = None,
    ) -> Tensor | list[Tensor]:
        """Score every pixel for every class, in evaluation mode and without gradient.

        Holds all K x H x W scores in memory; `segment` does not.

        Args:
            images: (B, 3, H, W) RGB in 0..255, or a sequence of (3, H, W) of different sizes.
            texts: embeddings of the K classes. A class of several rows has the score of its best
                row; all background classes become one, the first.
            size: (h, w) of the scores, or one for each image; None is the images' size.

        Returns:
            (B, K, h, w) floating, or a list of (K, h, w).

        Raises:
            ValueError: texts of another width, images of another shape, another number of sizes,
                or a case the subclass refuses.
            ImageTooLargeError: memory does not suffice for the scores.
        """
        pairs = list(each_image(images, size))
        for image, out_size in pairs:
            need_score_memory(image, out_size, texts.num_classes)
        with evaluating(self):
            scores = [
                torch.cat(list(self._bands(image, out_size, texts)), dim=1)
                for image, out_size in pairs
            ]
        return torch.stack(scores) if isinstance(images, Tensor) else scores

    @torch.no_grad()
    def segment(
        self,
        images: Tensor | Sequence[Tensor],
        texts: ClassTexts,
        size: Size | Sequence[Size] | None = None,
        *,
        corrections: Sequence[MapCorrection] | None = None,
    ) -> Tensor | list[Tensor]:
        """Label every pixel, in evaluation mode and without gradient.

        Holds the scores of one band of rows in memory. Other arguments and errors are those of
        `score_pixels`.

        Args:
            images: see `score_pixels`.
            texts: see `score_pixels`.
            size: see `score_pixels`.
            corrections: one for each image, of the size of its labels; the labels are then those
                of `correct_scores`. None corrects nothing.

        Returns:
            (B, h, w) int64 class indices, or a list of (h, w).

        Raises:
            ValueError: another number of corrections, or a correction of another size.
        """
        with evaluating(self):
            chosen: Sequence[MapCorrection | None]
            chosen = [None] * len(images) if corrections is None else corrections
            labels = [
                self._label(image, out_size, texts, correction)
                for (image, out_size), correction in zip(
                    each_image(images, size), chosen, strict=True
                )
            ]
        return torch.stack(labels) if isinstance(images, Tensor) else labels

    def _label(
        self,
        image: Tensor,
        out_size: Size | None,
        texts: ClassTexts,
        correction: MapCorrection | None,
    ) -> Tensor:
        """Label one image (3, H, W); its masks' sums are gathered band by band."""
        if correction is None:
            return torch.cat([band.argmax(dim=0) for band in self._bands(image, out_size, texts)])
        check_owners(correction, (image.shape[1], image.shape[2]) if out_size is None else out_size)
        labels: list[Tensor] = []
        votes, sums, row = torch.tensor(0), torch.tensor(0.0), 0
        for band in self._bands(image, out_size, texts):
            owners = correction.owners[row : row + band.shape[1]]
            more_votes, more_sums = mask_scores(band, owners, correction.num_masks)
            votes, sums = more_votes + votes, more_sums + sums
            labels.append(band.argmax(dim=0))
            row += band.shape[1]
        return correct_labels(torch.cat(labels), votes, sums, correction)

    @abstractmethod
    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""


def need_score_memory(image: Tensor, size: Size | None, num_classes: int) -> None:
    """Check that memory suffices for scores (num_classes, *size) of one image (3, H, W).

    Raises:
        ImageTooLargeError: the scores need more than is free.
    """
    height, width = (image.shape[1], image.shape[2]) if size is None else size
    need_memory(
        2 * 4 * num_classes * height * width,  # the bands, and beside them their sum
        image.device,
        f"the scores of {num_classes} classes at {width} x {height} pixels",
    )


def each_image(
    images: Tensor | Sequence[Tensor], size: Size | Sequence[Size] | None = None
) -> Iterator[tuple[Tensor, Size | None]]:
    """Pair each image (3, H, W) with the size (h, w) of its result, or None if ``size`` is.

    Raises:
        ValueError: images of another shape, or another number of sizes, before the first pair.
    """
    for image in images:
        if image.dim() != 3 or image.shape[0] != 3:
            raise ValueError(
                f"images hold one of shape {tuple(image.shape)}; give (B, 3, H, W) or a sequence "
                "of (3, H, W), RGB in 0..255"
            )
    sizes: Sequence[Size | None]
    if size is None or isinstance(size[0], int):
        sizes = [cast("Size | None", size)] * len(images)
    else:
        sizes = cast("Sequence[Size]", size)
    if len(sizes) != len(images):
        raise ValueError(f"{len(sizes)} sizes for {len(images)} images; give one for each, or one")
    return zip(images, sizes, strict=True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode; restore the mode of every submodule afterwards."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        yield
    finally:
        for m in training:
            m.training = True
