"""Mask proposals for OVSeg: from a MaskFormer, a mask source, or the ground truth.

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
    "generate_masks",
    "oracle_proposals",
    "truth_proposals",
]


@dataclass(frozen=True, eq=False)
class MaskProposals:
    """Masks of one image, with or without class probabilities.

    Attributes:
        masks: (Q, H, W) bool, or floating in [0, 1].
        probs: (Q, K), rows add up to 1 at most; None for masks without classes.
    """

    masks: Tensor
    probs: Tensor | None = None

    def __post_init__(self) -> None:
        """Check the shapes."""
        probs = None if self.probs is None else tuple(self.probs.shape)
        if self.masks.dim() != 3 or (probs is not None and probs[:-1] != (len(self.masks),)):
            raise ValueError(
                f"masks {tuple(self.masks.shape)} with probs {probs}; give (Q, H, W), and (Q, K) "
                "or None"
            )


# An image (3, H, W) RGB in 0..255 and the texts of K classes -> masks.
ProposalSource = Callable[[Tensor, ClassTexts], MaskProposals]


class MaskFormerProposals(nn.Module):
    """Masks and class probabilities of a trained MaskFormer, at the image's size."""

    def __init__(self, maskformer: OVSegMaskFormer) -> None:
        """Take a model, whose `propose` is called."""
        super().__init__()
        self.maskformer = maskformer

    def forward(self, image: Tensor, texts: ClassTexts) -> MaskProposals:
        """Propose masks for one image, see `ProposalSource`."""
        (proposals,) = self.maskformer.propose([image], texts)
        return MaskProposals(proposals.mask_probs(), proposals.class_probs)


class GeneratedMasks:
    """Masks of SAM or another source, without classes; CLIP alone classifies them.

    The pixels that the source leaves uncovered are one more mask, so that all pixels get a class.
    """

    def __init__(self, source: MaskSource) -> None:
        """Take a source of masks for uint8 images (H, W, 3)."""
        self.source = source

    def __call__(self, image: Tensor, texts: ClassTexts | None = None) -> MaskProposals:
        """Generate masks of one image, see `ProposalSource`; ``texts`` is ignored."""
        return covering_proposals(generate_masks(self.source, image))


def generate_masks(source: MaskSource, image: Tensor) -> Tensor:
    """Masks (Q, H, W) bool of a source for one image (3, H, W) RGB in 0..255, on its device."""
    pixels = image.detach().clamp(0, 255).round().to(torch.uint8).permute(1, 2, 0)
    masks = source(np.ascontiguousarray(pixels.cpu().numpy()))
    return torch.from_numpy(np.ascontiguousarray(masks)).to(image.device)


def covering_proposals(masks: Tensor) -> MaskProposals:
    """Masks (Q, H, W) bool without classes, and one more of the uncovered pixels, if any."""
    rest = ~masks.any(dim=0, keepdim=True)
    return MaskProposals(torch.cat([masks, rest]) if bool(rest.any()) else masks)


def truth_proposals(labels: Tensor, num_classes: int, size: tuple[int, int]) -> MaskProposals:
    """Ground-truth masks without classes, one for each class that occurs.

    Paper: [ovseg] Sec. 1, the oracle of masks, which CLIP classifies.

    Args:
        labels: (H, W) integer; values outside of 0..K-1 are in no mask.
        num_classes: K.
        size: (h, w) of the image, to which labels are resized by the nearest pixel.

    Returns:
        Masks (Q, h, w) bool by rising class, Q the number of classes that occur; no probs.
    """
    labels = _resize_labels(labels, size)
    class_ids = labels.unique()
    class_ids = class_ids[(class_ids >= 0) & (class_ids < num_classes)]
    return MaskProposals(class_ids[:, None, None] == labels)


def oracle_proposals(
    proposals: MaskProposals, labels: Tensor, num_classes: int, threshold: float = 0.5
) -> MaskProposals:
    """Proposals with the ground-truth class that each mask overlaps most.

    Paper: [ovseg] Sec. 1, the oracle of classes.

    Args:
        proposals: the masks; their class probabilities are ignored.
        labels: (H, W) integer, of any size; values outside of 0..K-1 do not count.
        num_classes: K.
        threshold: a pixel above it is inside a soft mask.

    Returns:
        The same masks with a probability of 1 for this class; zeros for masks that overlap none.
    """
    labels = _resize_labels(labels, (proposals.masks.shape[1], proposals.masks.shape[2]))
    class_ids = overlap_labels(binarize_masks(proposals.masks, threshold), labels, num_classes)
    probs = F.one_hot(class_ids.clamp(min=0), num_classes).float() * (class_ids >= 0)[:, None]
    return replace(proposals, probs=probs)


def _resize_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    # float64 holds any label exactly.
    resized = F.interpolate(labels[None, None].double(), size=size, mode="nearest")
    return resized[0, 0].long()
