"""PixelCLIPInference: MaskCLIP on PixelCLIP's student, with images at its training size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.ops import merge_background
from ovseg_d2.text import ClassTexts

from .grids import cosines
from .maskclip import MaskCLIP

__all__ = ["PixelCLIPInference", "official_feats", "resize_images"]

Size = tuple[int, int]

# The release resizes features to this grid before it normalises them.
_OFFICIAL_GRID = (64, 64)


class PixelCLIPInference(MaskCLIP):
    """MaskCLIP whose images are resized to one size, of any aspect ratio.

    Paper: [pixelclip] Sec. 4: the image encoder alone, without decoder and prompts.
    Departs: the release resizes dense features to 64x64 before it normalises them, drops pixels at
    the bottom and right that fill no patch, crops the map of features to the image where a side is
    below 64 pixels, and segments only the first image of a batch. ``official`` does the first two
    of these; the others have no use.

    Args:
        tower: see `MaskCLIP`.
        image_size: (h, w) in pixels at which images are encoded, 320x320 in the paper; None keeps
            their size.
        official: the release's features and cosines without refinement; see also
            `official_feats`.
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
        feats = official_feats(self.tower, image[None], self.last_block).float()
        feats = F.interpolate(feats, _OFFICIAL_GRID, mode="bilinear", align_corners=False)
        scores = texts.best_of_words(cosines(feats, texts.embeds))
        scores = F.interpolate(scores, out_size, mode="bilinear", align_corners=False)[0]
        yield merge_background(scores, texts.background_ids)


def official_feats(
    tower: CLIPTower, images: Tensor, last_block: LastBlock, *, visual: nn.Module | None = None
) -> Tensor:
    """Dense features as the release of [pixelclip] has them at any size.

    The convolution that makes a ViT's patches does not pad: the remainder at the bottom and right
    is dropped, and the features stand for the whole image all the same. The release takes square
    grids of patches only.

    Args:
        tower: see `MaskCLIP`.
        images: (B, 3, H, W) RGB in 0..255.
        last_block: see `MaskCLIP`.
        visual: see `CLIPTower.dense_feats`.

    Returns:
        (B, D, h, w); h = H // patch for a ViT.

    Raises:
        ValueError: images that are smaller than a patch.
    """
    if isinstance(tower.model.visual, VisionTransformer):
        height, width = images.shape[2:]
        patch_h, patch_w = tower.patch_size
        if height < patch_h or width < patch_w:
            raise ValueError(
                f"images of {height}x{width} pixels are smaller than a patch of {patch_h}x"
                f"{patch_w}; enlarge them"
            )
        images = images[..., : height - height % patch_h, : width - width % patch_w]
    return tower.dense_feats(tower.normalize(images), last_block, visual=visual, official=True)


def resize_images(images: Tensor, size: Size) -> Tensor:
    """Resize (B, 3, H, W) bilinearly, without antialiasing, as [pixelclip] does."""
    return F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)
