"""CLIPPretrain: contrastive training of a CLIP on pictures and captions."""

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..clip import CLIPTower
from ..losses import contrastive_loss


class CLIPPretrain(nn.Module):
    """Train both towers of a CLIP so that pictures and their captions meet.

    Paper: [clip] Sec. 2.3-2.5: symmetric contrastive loss over the batch of all ranks, the logit
    scale learnt and kept at most 100.
    Departs: captions that are equal are not each other's negatives (see
    :func:`~ovseg_d2.losses.contrastive_loss`); a batch encodes each of its captions once.
    """

    def __init__(self, tower: CLIPTower, *, max_logit_scale: float = 100.0) -> None:
        """Put built parts together.

        Args:
            tower: the CLIP to train; its parameters are used as they are.
            max_logit_scale: upper bound of the factor of the cosines.

        Raises:
            ValueError: a bound that is not positive.
        """
        super().__init__()
        if max_logit_scale <= 0:
            raise ValueError(f"max_logit_scale={max_logit_scale}; give a positive factor.")
        self.tower = tower
        self.max_logit_scale = max_logit_scale

    def forward(self, images: Tensor, captions: Sequence[str]) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            images: (B, 3, H, W) RGB, 0 to 255.
            captions: B texts, caption i belongs to image i.

        Returns:
            ``loss_contrastive``, 0-dim.

        Raises:
            ValueError: if there is not one caption for each image.
        """
        if len(images) != len(captions):
            raise ValueError(
                f"captions: {len(captions)} for {len(images)} images; give one for each image."
            )
        self.clamp_logit_scale()
        image_embeds = self.tower.encode_image(self.tower.normalize(images))
        unique = sorted(set(captions))
        rows = {caption: row for row, caption in enumerate(unique)}
        token_ids = self.tower.tokenize(unique).to(images.device)
        chosen = torch.tensor([rows[c] for c in captions], device=images.device)
        text_embeds = self.tower.encode_text(token_ids)[chosen]
        text_ids = torch.tensor([_stable_id(c) for c in unique], device=images.device)[chosen]
        loss = contrastive_loss(image_embeds, text_embeds, self.tower.logit_scale, text_ids)
        return {"loss_contrastive": loss}

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keep the learnt factor at most ``max_logit_scale``, as [clip] Sec. 2.5 does."""
        self.tower.model.logit_scale.clamp_(max=math.log(self.max_logit_scale))


def _stable_id(text: str) -> int:
    """A 63-bit number that equal texts share in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
