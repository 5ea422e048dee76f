"""PixelCLIPInference: MaskCLIP on PixelCLIP's student, with images at its training size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower
from ovseg_d2.ops import merge_background
from ovseg_d2.text import ClassTexts

from .maskclip import MaskCLIP

__all__ = ["PixelCLIPInference", "resize_images"]

Size = tuple[int, int]

# The release resizes features to this grid before it normalises them.
_OFFICIAL_GRID = (64, 64)


class PixelCLIPInference(MaskCLIP):
    """MaskCLIP whose images are resized to one size, of any aspect ratio.

    Paper: [pixelclip] Sec. 4: the image encoder alone, without decoder and prompts.
    Departs: the release resizes dense features to 64x64 before it normalises them, crops that map
    to the image where a side is below 64 pixels, and segments only the first image of a batch.
    ``official`` does the first of these; the others have no use.

    Args:
        tower: see `MaskCLIP`.
        image_size: (h, w) in pixels at which images are encoded, 320x320 in the paper; None keeps
            their size.
        official: the release's features and cosines without refinement; see also `MaskCLIP`.
        options: further arguments of `MaskCLIP`; ``official`` ignores all but the last block.
    """

    def __init__(
        self,
        tower: CLIPTower,
        *,
        image_size: Size | None = None,
        official: bool = False,
        **options: Any,
    ) -> None:
        """Build the `MaskCLIP`; errors are its errors."""
        super().__init__(tower, official=official, **options)
        self.image_size = image_size

    def _bands(self, image: Tensor, out_size: Size | None, texts: ClassTexts) -> Iterator[Tensor]:
        """Yield the final scores (K, rows, W) of one image (3, H, W), from the top band down."""
        out_size = (image.shape[1], image.shape[2]) if out_size is None else out_size
        if self.image_size is not None:
            image = resize_images(image[None], self.image_size)[0]
        if not self.official:
            yield from super()._bands(image, out_size, texts)
            return
        texts.check_dim(self.tower.embed_dim)
        images = self.tower.normalize(image[None])
        feats = self.tower.dense_feats(images, self.last_block, official=True).float()
        feats = F.interpolate(feats, _OFFICIAL_GRID, mode="bilinear", align_corners=False)
        embeds = F.normalize(feats, dim=1)
        scores = texts.best_of_words(torch.einsum("bdhw,rd->brhw", embeds, texts.embeds.to(embeds)))
        scores = F.interpolate(scores, out_size, mode="bilinear", align_corners=False)[0]
        yield merge_background(scores, texts.background_ids)


def resize_images(images: Tensor, size: Size) -> Tensor:
    """Resize (B, 3, H, W) bilinearly, without antialiasing, as [pixelclip] does."""
    return F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
