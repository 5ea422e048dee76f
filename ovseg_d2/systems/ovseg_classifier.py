"""OVSegClassifier: CLIP classifies the crop of each mask.

Source: [ovseg] arXiv 2210.04150.

Shape shorthand: Q masks, K classes, R rows of text, D joint embedding, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ovseg_d2.clip import MaskPromptedTower, fill_color
from ovseg_d2.ops import (
    CropOptions,
    binarize_masks,
    cut_regions,
    expand_boxes,
    mask_boxes,
    resize_regions,
)
from ovseg_d2.text import ClassTexts

__all__ = ["MaskClasses", "OVSegClassifier"]


@dataclass(frozen=True, eq=False)
class MaskClasses:
    """CLIP's class probabilities of one image's masks.

    Attributes:
        probs: (Q, K) float32, q of each mask; zeros for masks that are not valid.
        valid: (Q,) bool, the masks with at least one pixel.
    """

    probs: Tensor
    valid: Tensor


class OVSegClassifier(nn.Module):
    """Classify masks by their crops, with mask prompts instead of masked patches.

    Paper: [ovseg] Sec. 3.1: the tight box of a mask, background masked out, resized to CLIP's own
    size; q is the softmax of 100 cosines, independent of CLIP's own factor.

    Args:
        prompted: the tower, with or without prompts; its gradient flags are left unchanged.
        crop: how masks are cut out.
        logit_scale: factor of the cosines.
        batch_size: the largest number of crops held and encoded at once.
    """

    def __init__(
        self,
        prompted: MaskPromptedTower,
        *,
        crop: CropOptions | None = None,
        logit_scale: float = 100.0,
        batch_size: int = 32,
    ) -> None:
        """Refuse a scale that is not positive or a batch size below 1 with a ValueError."""
        super().__init__()
        if not logit_scale > 0 or batch_size < 1:
            raise ValueError(
                f"logit_scale={logit_scale} and batch_size={batch_size}; give a positive factor of "
                "cosines, and at least 1 crop"
            )
        self.prompted = prompted
        self.crop = crop or CropOptions()
        self.logit_scale = logit_scale
        self.batch_size = batch_size

    def forward(self, image: Tensor, masks: Tensor, texts: ClassTexts) -> MaskClasses:
        """Classify the masks of one image.

        Args:
            image: (3, H, W) RGB in 0..255.
            masks: (Q, H, W) bool, or soft ones in [0, 1]; Q may be 0, and masks may be empty.
            texts: embeddings of the K classes; a class of several rows has the cosine of its best.

        Raises:
            ValueError: texts of another width than the tower, or masks of another size than the
                image.
        """
        tower = self.prompted.tower
        texts.check_dim(tower.embed_dim)
        embeds, valid = self.embed_masks(image, masks)
        with torch.autocast(embeds.device.type, enabled=False):
            rows = texts.embeds.to(embeds.device).float()
            logits = texts.best_of_words(self.logit_scale * embeds.float() @ rows.t(), dim=-1)
            probs = logits.new_zeros(len(masks), logits.shape[1])
            probs[valid] = logits.softmax(dim=1)
        return MaskClasses(probs, valid)

    def embed_masks(self, image: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the crops of the masks that are not empty.

        Arguments are those of `forward`.

        Returns:
            (V, D) unit norm, of the V valid masks in order; and (Q,) bool, whether a mask is valid.

        Raises:
            ValueError: masks of another size than the image.
        """
        tower, options = self.prompted.tower, self.crop
        if masks.dim() != 3 or masks.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"masks {tuple(masks.shape)} for an image of {tuple(image.shape[1:])} pixels; give "
                "(Q, H, W), of the image's size"
            )
        binary = binarize_masks(masks, options.threshold)
        valid = binary.flatten(1).any(dim=1)
        weights = masks if options.matting else binary
        size = (image.shape[1], image.shape[2])
        boxes = expand_boxes(mask_boxes(binary), options.expand_ratio, size)
        normed = tower.normalize(image)
        fill = fill_color(tower, options.fill)
        embeds = [normed.new_zeros(0, tower.embed_dim)]
        rows = valid.nonzero()[:, 0]
        for start in range(0, len(rows), self.batch_size):
            chosen = rows[start : start + self.batch_size]
            cut = cut_regions(normed, weights[chosen], boxes[chosen], fill)
            crops, crop_masks = resize_regions(*cut, self.prompted.crop_size)
            embeds.append(self.prompted.encode_crops(crops, crop_masks))
        return torch.cat(embeds), valid
