"""MaskAdaptedCLIP: CLIP is trained to classify masked crops.

Source: [ovseg] arXiv 2210.04150.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ovseg_d2.clip import MaskPromptedTower, prepare_crops
from ovseg_d2.losses import contrastive_loss
from ovseg_d2.ops import MaskFill
from ovseg_d2.text import TextBank

__all__ = ["AdaptedPart", "MaskAdaptedCLIP"]

AdaptedPart = Literal["prompts", "image", "both"]


class MaskAdaptedCLIP(nn.Module):
    """Train mask prompts, the image encoder, or both, on crops of masks and their nouns.

    The paper's variants differ in the depth of the prompts and the trained parts; a second stage
    starts from the weights of the first:

    ===============  =====================================================================
    MPT              depth 3, "prompts"
    FT               depth 0, "image"
    FT, then MPT     FT; then depth 3, "prompts"
    MPT, then FT     MPT; then depth 3, "image", the prompts frozen
    both at once     depth 3, "both"
    ===============  =====================================================================

    Paper: [ovseg] Sec. 3.2 and 3.3, with CLIP's contrastive loss and its text encoder frozen.
    Departs: crops that share a noun are not each other's negatives; with ``official`` they are.
    The factor of the cosines is a parameter of this module, so that prompts are learnt without
    changing a weight of CLIP; segmentation reads neither.

    Args:
        prompted: the tower with its prompts; all its gradient flags are set.
        text_bank: on the same tower; its templates are used for the nouns.
        train: the trained part.
        fill: the background of crops, see `ops.CropOptions`.
        max_logit_scale: upper bound of the factor of the cosines.
        official: the loss of the release.
    """

    def __init__(
        self,
        prompted: MaskPromptedTower,
        text_bank: TextBank,
        *,
        train: AdaptedPart = "prompts",
        fill: MaskFill = "mean",
        max_logit_scale: float = 100.0,
        official: bool = False,
    ) -> None:
        """Freeze all but the trained part.

        Raises:
            ValueError: an unknown part, prompts to train and a depth of 0, a bound that is not
                positive, or a bank on another tower.
        """
        super().__init__()
        if train not in get_args(AdaptedPart):
            raise ValueError(f"train={train!r}; choose one of {get_args(AdaptedPart)}")
        if train != "image" and prompted.prompts is None:
            raise ValueError(
                f"train={train!r} trains prompts, and there are none; give prompts a depth, or "
                "train='image'"
            )
        if not max_logit_scale > 0:
            raise ValueError(f"max_logit_scale={max_logit_scale}; give a positive factor")
        if text_bank.tower is not prompted.tower:
            raise ValueError(
                "text_bank is on another tower; build it with TextBank(prompted.tower, ...)"
            )
        self.prompted = prompted
        self.text_bank = text_bank
        self.train_part = train
        self.fill: MaskFill = fill
        self.max_logit_scale = max_logit_scale
        self.official = official
        self.log_scale = nn.Parameter(prompted.tower.logit_scale.detach().log().float())
        prompted.requires_grad_(False)
        if train != "prompts":
            prompted.tower.model.visual.requires_grad_(True)
        if train != "image" and prompted.prompts is not None:
            prompted.prompts.requires_grad_(True)

    def forward(
        self, crops: Sequence[Tensor], masks: Sequence[Tensor], nouns: Sequence[str]
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            crops: B images (3, h, w) RGB in 0..255, each the box of its mask with the background.
            masks: B masks (h, w) bool.
            nouns: B names of the masked objects, which may be equal; capitals and double spaces
                make no difference.

        Returns:
            ``loss_contrastive``, 0-dim.

        Raises:
            ValueError: different numbers of crops, masks and nouns, or no crop.
        """
        if not len(crops) == len(masks) == len(nouns) or len(crops) == 0:
            raise ValueError(
                f"{len(crops)} crops, {len(masks)} masks and {len(nouns)} nouns; give one of each "
                "for every pair, and at least one pair"
            )
        tower = self.prompted.tower
        images, image_masks = prepare_crops(tower, crops, masks, self.prompted.crop_size, self.fill)
        image_embeds = self.prompted.encode_crops(images, image_masks)
        nouns = [" ".join(noun.casefold().split()) for noun in nouns]
        unique = sorted(set(nouns))
        rows = {noun: row for row, noun in enumerate(unique)}
        chosen = torch.tensor([rows[noun] for noun in nouns], device=image_embeds.device)
        text_embeds = self.text_bank.embed(unique).to(image_embeds)[chosen]
        self.clamp_logit_scale()
        loss = contrastive_loss(
            image_embeds,
            text_embeds,
            self.log_scale.exp(),
            None if self.official else _noun_ids(unique).to(chosen.device)[chosen],
        )
        return {"loss_contrastive": loss}

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Clamp the factor of the cosines to ``max_logit_scale``."""
        self.log_scale.clamp_(max=math.log(self.max_logit_scale))


def _noun_ids(nouns: Sequence[str]) -> Tensor:
    """(N,) 63-bit numbers of the nouns, the same in every process."""
    digests = [hashlib.blake2b(noun.encode(), digest_size=8).digest() for noun in nouns]
    return torch.tensor([int.from_bytes(digest, "big") >> 1 for digest in digests])
