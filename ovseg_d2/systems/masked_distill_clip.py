"""MaskedDistillCLIP: contrastive training with masked self-distillation beside it.

Source: [masked_distill_clip] arXiv 2208.12262, whose authors call it MaskCLIP; see also
:class:`~ovseg_d2.systems.MaskCLIP`, which is another paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..clip import CLIPTower
from .clip_pretrain import CLIPPretrain
from .masked_distillation import MaskedDistillation
from .masked_language import MaskedLanguage

__all__ = ["MaskedDistillCLIP"]


class MaskedDistillCLIP(CLIPPretrain):
    """`CLIPPretrain`, and beside it guesses of hidden patches and, if wanted, of hidden words.

    Paper: [masked_distill_clip]: the contrastive loss plus 0.05 times the distillation and 0.05
    times masked language modelling.
    Departs: as the parts do, see :class:`MaskedDistillation` and :class:`MaskedLanguage`. The
    contrastive loss is that of `CLIPPretrain`, on whole images; a part of a batch that it reads by
    the last attention alone makes no difference to the other two. Words are guessed of right
    captions only, of each different one once.
    """

    def __init__(
        self,
        tower: CLIPTower,
        *,
        distillation: MaskedDistillation | None,
        masked_language: MaskedLanguage | None = None,
        distillation_weight: float = 0.05,
        language_weight: float = 0.05,
        max_logit_scale: float = 100.0,
        attention_only: float = 0.0,
    ) -> None:
        """Put built parts together.

        Args:
            tower: the CLIP to train.
            distillation: None does without.
            masked_language: None does without.
            distillation_weight: of its loss, at least 0.
            language_weight: likewise.
            max_logit_scale: see `CLIPPretrain`.
            attention_only: likewise.

        Raises:
            ValueError: a negative weight; or as `CLIPPretrain`.
        """
        super().__init__(tower, max_logit_scale=max_logit_scale, attention_only=attention_only)
        weights = {"distillation_weight": distillation_weight, "language_weight": language_weight}
        for name, value in weights.items():
            if not value >= 0:
                raise ValueError(f"{name} is {value}; give a number of at least 0")
        self.distillation, self.masked_language = distillation, masked_language
        self.distillation_weight, self.language_weight = distillation_weight, language_weight
        if distillation is not None and distillation.teacher is not None:
            self.register_load_state_dict_pre_hook(_start_teacher)

    def forward(
        self,
        images: Tensor,
        captions: Sequence[Sequence[str]],
        wrong_captions: Sequence[Sequence[str]] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of one batch, weighted; a teacher moves first.

        Args:
            images: as of `CLIPPretrain`, of the size that the decoder was built for.
            captions: likewise.
            wrong_captions: likewise.

        Returns:
            ``loss_contrastive``, and what there is of ``loss_distillation`` and
            ``loss_masked_language``; 0-dim.

        Raises:
            ValueError: as `CLIPPretrain` and :class:`MaskedDistillation`.
        """
        losses = super().forward(images, captions, wrong_captions)
        if self.distillation is not None:
            loss = self.distillation(self.tower, self.tower.normalize(images))
            losses["loss_distillation"] = self.distillation_weight * loss
        if self.masked_language is not None:
            token_ids = self.tower.tokenize(sorted({text for texts in captions for text in texts}))
            loss = self.masked_language(self.tower, token_ids.to(images.device))
            losses["loss_masked_language"] = self.language_weight * loss
        return losses


def _start_teacher(module: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Weights without a teacher, those of a CLIP, start it as a copy of the student."""
    own = f"{prefix}distillation.teacher."
    if any(key.startswith(own) for key in state_dict):
        return
    sources = {
        f"{prefix}tower.model.visual.": f"{own}visual.",
        f"{prefix}distillation.tokenizer.": f"{own}tokenizer.",
    }
    for student, teacher in sources.items():
        for key in [key for key in state_dict if key.startswith(student)]:
            state_dict[teacher + key.removeprefix(student)] = state_dict[key]
