"""Masked self-distillation: predict features of the whole image from a masked one.

image, most patches hidden -> student -> decoder -> guesses -> tokenizer -> codes;
whole image -> EMA teacher -> EMA tokenizer -> soft codes; both -> cross entropy of hidden patches.

Source: [masked_distill_clip] arXiv 2208.12262.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..clip import CLIPTower, encode_image_tokens
from ..losses import check_temperature, pixel_loss, soft_code_loss, soft_codes
from ..nets import OnlineTokenizer, PatchDecoder
from ..ops import check_mask_ratio, draw_patch_masks, patch_pixels, unmasked_ids, update_ema

__all__ = ["DistillationStatistics", "DistillationTarget", "MaskedDistillation"]

DistillationTarget = Literal["teacher", "student", "pixels"]


@dataclass(frozen=True, eq=False)
class DistillationStatistics:
    """Statistics of the targets of this rank's step, without gradient.

    Attributes:
        codes_in_use: 0-dim, number of codes that are the likeliest of a hidden patch.
        target_entropy: 0-dim, mean over the patches, in nats; log P for uniform targets.
    """

    codes_in_use: Tensor
    target_entropy: Tensor


class MaskedDistillation(nn.Module):
    """Predict the features of hidden patches, as soft codes of an online tokenizer.

    Most patches of an image are hidden from the student; a small decoder predicts their features
    from the others. A teacher, the moving average of the image half, sees the whole image. The
    tokenizer, or its moving average for the teacher, turns both into codes; the loss is the cross
    entropy of the codes.

    Paper: [masked_distill_clip], masked self-distillation: 75 % are hidden, a decoder of one layer,
    an EMA teacher of the full image, soft codes of an online tokenizer.
    Departs: the published facts leave open what follows, which is as in [ibot]: features are those
    after the last block and its norm; the teacher's tokenizer is a moving average too; temperatures
    are 0.1 and 0.04; a running mean of the teacher's logits, over all ranks, is subtracted, so that
    not all patches get one code. The momentum is constant, and the teacher is updated before each
    step.

    Args:
        tower: the CLIP whose image half is trained; `forward` takes it, it is no submodule.
        decoder: for the grid of the training images.
        tokenizer: None for the target "pixels".
        target: "teacher"; "student", the student's features of the whole image (no moving average,
            no gradient); or "pixels", the squared error of the hidden patches' pixels of unit
            variance, see [mae]. The paper compares all three.
        mask_ratio: share of the patches that is hidden, in (0, 1).
        momentum: of the teacher, in [0, 1).
        student_temperature: see :func:`~ovseg_d2.losses.soft_code_loss`.
        teacher_temperature: see :func:`~ovseg_d2.losses.soft_code_loss`.
        center_momentum: of the running mean, in [0, 1); 0 is the mean of the last step.
    """

    center: Tensor

    def __init__(
        self,
        tower: CLIPTower,
        *,
        decoder: PatchDecoder,
        tokenizer: OnlineTokenizer | None,
        target: DistillationTarget = "teacher",
        mask_ratio: float = 0.75,
        momentum: float = 0.999,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        center_momentum: float = 0.9,
    ) -> None:
        """Check the options; a teacher starts as a copy of the tower's image half.

        Raises:
            ValueError: an unknown target, a missing or unused tokenizer, or a value out of its
                range.
        """
        super().__init__()
        if target not in get_args(DistillationTarget):
            raise ValueError(f"target={target!r}; choose one of {get_args(DistillationTarget)}")
        if (tokenizer is None) != (target == "pixels"):
            raise ValueError(
                f"target={target!r} with tokenizer={type(tokenizer).__name__}: features need an "
                "OnlineTokenizer, pixels need None"
            )
        check_mask_ratio(mask_ratio)
        check_temperature("student_temperature", student_temperature)
        check_temperature("teacher_temperature", teacher_temperature)
        for name, value in {"momentum": momentum, "center_momentum": center_momentum}.items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} is {value}; give a number from 0 to below 1")
        self.decoder, self.tokenizer = decoder, tokenizer
        self.target: DistillationTarget = target
        self.mask_ratio, self.momentum, self.center_momentum = mask_ratio, momentum, center_momentum
        self.temperatures = (student_temperature, teacher_temperature)
        self.statistics: DistillationStatistics | None = None
        self.teacher: nn.ModuleDict | None = None
        if tokenizer is not None:
            self.register_buffer("center", torch.zeros(tokenizer.num_codes))
        if target == "teacher":
            parts = {"visual": tower.model.visual, "tokenizer": tokenizer}
            copies = {name: copy.deepcopy(part) for name, part in parts.items()}
            self.teacher = nn.ModuleDict(copies).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> MaskedDistillation:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def forward(self, tower: CLIPTower, images: Tensor) -> Tensor:
        """Loss of one batch; updates teacher and center in training mode, and `statistics`.

        Args:
            tower: the CLIP that this was built for.
            images: (B, 3, H, W) normalised.

        Returns:
            0-dim float32 loss, not weighted.

        Raises:
            ValueError: images of another grid than the decoder's, or a tower other than a ViT.
        """
        if self.training and self.teacher is not None:
            self.update_teacher(tower)
        patch_h, patch_w = tower.patch_size
        num_patches = -(-images.shape[2] // patch_h) * -(-images.shape[3] // patch_w)
        masks = draw_patch_masks(len(images), num_patches, self.mask_ratio, device=images.device)
        guesses = self.guess(tower, images, masks)
        if self.tokenizer is None:
            pixels = patch_pixels(images, tower.patch_size, unit_variance=True)
            return pixel_loss(guesses, pixels[masks])
        teacher_logits = self.target_logits(tower, images, masks)
        loss = soft_code_loss(
            self.tokenizer(guesses),
            teacher_logits,
            student_temperature=self.temperatures[0],
            teacher_temperature=self.temperatures[1],
            center=self.center,
        )
        self._describe(teacher_logits)
        if self.training:
            self._update_center(teacher_logits)
        return loss

    def guess(self, tower: CLIPTower, images: Tensor, masks: Tensor) -> Tensor:
        """Predict the M hidden patches of images (B, 3, H, W) with masks (B, N): (M, C)."""
        kept_ids = unmasked_ids(masks)
        tokens, grid = encode_image_tokens(tower.model.visual, images, kept_ids)
        return self.decoder(tokens, kept_ids, grid)[masks]

    @torch.no_grad()
    def target_logits(self, tower: CLIPTower, images: Tensor, masks: Tensor) -> Tensor:
        """Logits (M, P) of the M patches under masks (B, N), from the whole images."""
        assert self.tokenizer is not None
        if self.teacher is None:
            tokens, _ = encode_image_tokens(tower.model.visual, images)
            return self.tokenizer(tokens[:, 1:][masks])
        tokens, _ = encode_image_tokens(self.teacher["visual"], images)
        return self.teacher["tokenizer"](tokens[:, 1:][masks])

    def update_teacher(self, tower: CLIPTower) -> None:
        """Update the teacher's moving averages of the tower and the tokenizer."""
        assert self.teacher is not None and self.tokenizer is not None
        update_ema(self.teacher["visual"], tower.model.visual, self.momentum)
        update_ema(self.teacher["tokenizer"], self.tokenizer, self.momentum)

    @torch.no_grad()
    def _update_center(self, teacher_logits: Tensor) -> None:
        """Update the center by the mean of all ranks' logits; M is the same on all ranks."""
        mean = teacher_logits.float().mean(dim=0)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(mean)
            mean /= dist.get_world_size()
        self.center.mul_(self.center_momentum).add_(mean, alpha=1 - self.center_momentum)

    @torch.no_grad()
    def _describe(self, teacher_logits: Tensor) -> None:
        targets = soft_codes(teacher_logits, self.temperatures[1], self.center)
        used = torch.zeros_like(self.center, dtype=torch.bool)
        used[targets.argmax(dim=1)] = True
        entropy = torch.special.entr(targets).sum(dim=1).mean()
        self.statistics = DistillationStatistics(used.sum(), entropy)
