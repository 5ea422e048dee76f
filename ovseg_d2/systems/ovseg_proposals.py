"""Where OVSeg's masks come from: a MaskFormer, any generator, or the truth.

Shape shorthand: Q masks, K classes, H x W pixels of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.masks import MaskSource
from ovseg_d2.ops import binarize_masks, overlap_labels
from ovseg_d2.text import ClassTexts

from .ovseg_maskformer import OVSegMaskFormer

__all__ = [
    "GeneratedMasks",
    "MaskFormerProposals",
    "MaskProposals",
    "ProposalSource",
    "covering_proposals",
    "oracle_proposals",
    "truth_proposals",
]


@dataclass(frozen=True, eq=False)
class MaskProposals:
    """Masks of one image, and what their maker says of them.

    Attributes:
        masks: (Q, H, W) bool, or floating in [0, 1].
        probs: (Q, K) of each mask's classes, rows of at most 1 in all; None where the maker knows
            no classes.
    """

    masks: Tensor
    probs: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse shapes that do not fit."""
        probs = None if self.probs is None else tuple(self.probs.shape)
        if self.masks.dim() != 3 or (probs is not None and probs[:-1] != (len(self.masks),)):
            raise ValueError(
                f"masks {tuple(self.masks.shape)} with probs {probs}; give (Q, H, W), and (Q, K) "
                "or None"
            )


# From an image (3, H, W) RGB in 0..255 and the texts of K classes.
ProposalSource = Callable[[Tensor, ClassTexts], MaskProposals]


class MaskFormerProposals(nn.Module):
    """The masks of a trained MaskFormer, at the image's own size, with its classes."""

    def __init__(self, maskformer: OVSegMaskFormer) -> None:
        """Keep the model."""
        super().__init__()
        self.maskformer = maskformer

    def forward(self, image: Tensor, texts: ClassTexts) -> MaskProposals:
        """Propose masks for one image, see `ProposalSource`."""
        (found,) = self.maskformer.propose([image], texts)
        return MaskProposals(found.mask_probs(), found.class_probs)


class GeneratedMasks:
    """Masks of SAM or any other source, which know no classes: CLIP alone names them.

    What the source leaves uncovered becomes one more mask, so that all pixels get a class.
    """

    def __init__(self, source: MaskSource) -> None:
        """Keep the source."""
        self.source = source

    def __call__(self, image: Tensor, texts: ClassTexts | None = None) -> MaskProposals:
        """Generate masks of one image, see `ProposalSource`; the texts are not used."""
        pixels = image.detach().clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0)
        found = self.source(np.ascontiguousarray(pixels.cpu().numpy()))
        masks = torch.from_numpy(np.ascontiguousarray(found)).to(image.device)
        return covering_proposals(masks)


def covering_proposals(masks: Tensor) -> MaskProposals:
    """Masks (Q, H, W) bool without classes, and one more of what they leave uncovered, if any."""
    rest = ~masks.any(dim=0, keepdim=True)
    return MaskProposals(torch.cat([masks, rest]) if bool(rest.any()) else masks)


def truth_proposals(labels: Tensor, num_classes: int, size: tuple[int, int]) -> MaskProposals:
    """The masks of the truth, one for each class that occurs, without saying which.

    Paper: [ovseg] Sec. 1, the oracle of masks: they are CLIP's to name.

    Args:
        labels: (H, W) integer; values that are no classes are in no mask.
        num_classes: K.
        size: (h, w) of the image, to which labels are brought by the nearest pixel.

    Returns:
        Masks (Q, h, w) bool by rising class, Q the number of classes that occur; no probs.
    """
    labels = _resize_labels(labels, size)
    found = labels.unique()
    found = found[(found >= 0) & (found < num_classes)]
    return MaskProposals(found[:, None, None] == labels)


def oracle_proposals(
    proposals: MaskProposals, labels: Tensor, num_classes: int, threshold: float = 0.5
) -> MaskProposals:
    """Proposals with the class of the object that each overlaps most.

    Paper: [ovseg] Sec. 1, the oracle of classes.

    Args:
        proposals: their own classes are not looked at.
        labels: (H, W) integer, of any size; values that are no classes do not count.
        num_classes: K.
        threshold: above which a pixel is inside a soft mask when overlap is measured.

    Returns:
        The same masks with probs of 1 for this class; zeros where a mask overlaps none.
    """
    labels = _resize_labels(labels, (proposals.masks.shape[1], proposals.masks.shape[2]))
    found = overlap_labels(binarize_masks(proposals.masks, threshold), labels, num_classes)
    probs = F.one_hot(found.clamp(min=0), num_classes).float() * (found >= 0)[:, None]
    return replace(proposals, probs=probs)


def _resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    # In float64: labels are whole numbers of any size.
    resized = F.interpolate(labels[None, None].double(), size=size, mode="nearest")
    return resized[0, 0].long()
