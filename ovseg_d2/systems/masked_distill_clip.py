"""MaskedDistillCLIP: contrastive training with masked self-distillation beside it.

Source: [masked_distill_clip] arXiv 2208.12262, whose authors call it MaskCLIP;
:class:`~ovseg_d2.systems.MaskCLIP` is that of another paper.
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
    """`CLIPPretrain` with prediction of hidden patches and of hidden words.

    Paper: [masked_distill_clip]: the contrastive loss plus 0.05 times the distillation and 0.05
    times masked language modelling.
    Departs: see :class:`MaskedDistillation` and :class:`MaskedLanguage`. The contrastive loss is
    that of `CLIPPretrain`, on whole images; ``attention_only`` does not affect the other two. Words
    of wrong captions are not predicted, and those of equal captions once.

    Args:
        tower: the CLIP to train.
        distillation: prediction of patches; None leaves it out.
        masked_language: prediction of words; None leaves it out.
        distillation_weight: weight of its loss, at least 0.
        language_weight: weight of its loss, at least 0.
        max_logit_scale: see `CLIPPretrain`.
        attention_only: see `CLIPPretrain`.
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
        """Refuse a negative weight with a ValueError; see also `CLIPPretrain`."""
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
        """Weighted losses of one batch; updates the teacher first, if there is one.

        Arguments and errors are those of `CLIPPretrain` and :class:`MaskedDistillation`; images
        have the size that the decoder was built for.

        Returns:
            ``loss_contrastive``, and with their parts ``loss_distillation`` and
            ``loss_masked_language``; 0-dim.
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
    """Add a teacher, a copy of the student, to weights without one, such as a CLIP's."""
    teacher_prefix = f"{prefix}distillation.teacher."
    if any(key.startswith(teacher_prefix) for key in state_dict):
        return
    sources = {
        f"{prefix}tower.model.visual.": f"{teacher_prefix}visual.",
        f"{prefix}distillation.tokenizer.": f"{teacher_prefix}tokenizer.",
    }
    for student, teacher in sources.items():
        for key in [key for key in state_dict if key.startswith(student)]:
            state_dict[teacher + key.removeprefix(student)] = state_dict[key]
