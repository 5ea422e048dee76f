"""CLIPPretrain: contrastive training of a CLIP on images and captions."""

import hashlib
import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ..clip import CLIPTower
from ..losses import contrastive_loss

__all__ = ["CLIPPretrain"]


class CLIPPretrain(nn.Module):
    """Train both towers of a CLIP so that the embeddings of an image and its captions agree.

    Paper: [clip] Sec. 2.3-2.5: symmetric contrastive loss over the batch of all ranks, the logit
    scale learnt and kept at most 100.
    Departs: equal captions are not each other's negatives (see
    :func:`~ovseg_d2.losses.contrastive_loss`); an image may have several captions in a step, which
    share its one encoding; a batch encodes each different caption once. Wrong captions may be
    further negatives of their image ([negclip] Sec. 4.1), and a share of the batch may be encoded
    by the last attention alone; the paper has neither.

    Args:
        tower: the CLIP to train; its gradient flags are left unchanged.
        max_logit_scale: upper bound of the factor of the cosines.
        attention_only: share of each batch whose images are encoded by the last block's attention
            alone, see `CLIPTower.encode_image`. In a tower of a few blocks the class token
            otherwise encodes the image before its last block, and the values there, which are all
            that [maskclip] reads, hold little.
    """

    def __init__(
        self,
        tower: CLIPTower,
        *,
        max_logit_scale: float = 100.0,
        attention_only: float = 0.0,
    ) -> None:
        """Refuse a bound that is not positive or a share outside [0, 1] with a ValueError."""
        super().__init__()
        if max_logit_scale <= 0:
            raise ValueError(f"max_logit_scale={max_logit_scale}; give a positive factor")
        if not 0 <= attention_only <= 1:
            raise ValueError(f"attention_only={attention_only}; give a share in [0, 1]")
        self.tower = tower
        self.max_logit_scale = max_logit_scale
        self.attention_only = attention_only

    def forward(
        self,
        images: Tensor,
        captions: Sequence[Sequence[str]],
        wrong_captions: Sequence[Sequence[str]] | None = None,
    ) -> dict[str, Tensor]:
        """Loss of one batch.

        Args:
            images: (B, 3, H, W) RGB, 0 to 255.
            captions: M texts for each of the B images; texts may be equal.
            wrong_captions: for each image any number of texts that are wrong for it.

        Returns:
            ``loss_contrastive``, 0-dim; every caption of the batch is a negative of the images
            that do not have it.

        Raises:
            ValueError: the images do not all have the same number of captions, at least one.
        """
        counts = sorted({len(texts) for texts in captions})
        if len(images) != len(captions) or len(counts) != 1 or counts[0] == 0:
            raise ValueError(
                f"captions: {len(captions)} lists of {counts} texts for {len(images)} images; give "
                "each image a list, all of the same length"
            )
        self.clamp_logit_scale()
        image_embeds = self.tower.encode_image(
            self.tower.normalize(images), attention_only=self._attention_only(images)
        )
        wrong_captions = wrong_captions or [()] * len(captions)
        unique = sorted({text for texts in [*captions, *wrong_captions] for text in texts})
        rows = {text: row for row, text in enumerate(unique)}
        token_ids = self.tower.tokenize(unique)
        text_embeds = self.tower.encode_text(token_ids.to(images.device))
        # Ids of tokens, not of texts: the tokenizer drops capitals and double spaces.
        ids = torch.tensor([_stable_id(row.numpy().tobytes()) for row in token_ids])
        ids = ids.to(images.device)
        chosen = torch.tensor([[rows[text] for text in texts] for texts in captions])
        chosen = chosen.to(images.device)
        most = max(map(len, wrong_captions))
        wrong = [[rows[text] for text in texts] for texts in wrong_captions]
        padded = torch.tensor([row + [-1] * (most - len(row)) for row in wrong])
        padded = padded.to(images.device, torch.long)
        # Rows repeat: the backward of an embedding adds them in a fixed order, that of indexing
        # does not, and equal seeds must train equal weights.
        loss = contrastive_loss(
            image_embeds,
            F.embedding(chosen, text_embeds),
            self.tower.logit_scale,
            ids[chosen],
            negative_embeds=F.embedding(padded.clamp(min=0), text_embeds) if most else None,
            negative_mask=padded >= 0,
        )
        return {"loss_contrastive": loss}

    def _attention_only(self, images: Tensor) -> Tensor | None:
        """(B,) bool, the first images of all ranks' batch; None without such images."""
        if not self.attention_only:
            return None
        joined = dist.is_available() and dist.is_initialized()
        rank, world_size = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)
        positions = rank * len(images) + torch.arange(len(images), device=images.device)
        return positions < round(self.attention_only * world_size * len(images))

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Clamp the learnt factor to ``max_logit_scale``, see [clip] Sec. 2.5."""
        self.tower.model.logit_scale.clamp_(max=math.log(self.max_logit_scale))


def _stable_id(tokens: bytes) -> int:
    """A 63-bit number of the tokens, the same in every process."""
    return int.from_bytes(hashlib.blake2b(tokens, digest_size=8).digest(), "big") >> 1
