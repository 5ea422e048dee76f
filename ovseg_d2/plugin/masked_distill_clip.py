"""MaskedDistillCLIP as a meta-architecture: CLIPPretrain with masked self-distillation."""

from typing import Any

from torch import Tensor

from ..clip import CLIPTower, image_heads, text_heads, token_table
from ..d2.config import CfgNode
from ..d2.modeling import META_ARCH_REGISTRY
from ..d2.utils.events import get_event_storage, has_event_storage
from ..nets import OnlineTokenizer, PatchDecoder, TokenDecoder
from ..systems import MaskedDistillation, MaskedLanguage
from ..systems import MaskedDistillCLIP as MaskedDistillCLIPSystem
from .clip_pretrain import CLIPPretrain, pretrain_options

__all__ = ["MaskedDistillCLIP"]


@META_ARCH_REGISTRY.register()
class MaskedDistillCLIP(CLIPPretrain):
    """Contrastive training with prediction of masked patches and words (adapter of the system).

    In evaluation it segments as MaskCLIP on the student's current weights. Checkpoints hold the
    teacher too; weights without one, such as `CLIPPretrain`'s, start it as a copy of the student.
    """

    system: MaskedDistillCLIPSystem

    @classmethod
    def build_system(cls, cfg: CfgNode, tower: CLIPTower) -> MaskedDistillCLIPSystem:
        """Build the system that ``MODEL.MASKED_DISTILL`` and ``MODEL.CLIP_PRETRAIN`` describe.

        Raises:
            ValueError: an unknown target, a value out of range, or a tower that is no ViT.
        """
        options = cfg.MODEL.MASKED_DISTILL
        return MaskedDistillCLIPSystem(
            tower,
            distillation=_build_distillation(cfg, tower) if options.WEIGHT else None,
            masked_language=_build_language(cfg, tower) if options.LANGUAGE.WEIGHT else None,
            distillation_weight=options.WEIGHT,
            language_weight=options.LANGUAGE.WEIGHT,
            **pretrain_options(cfg),
        )

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation; see :class:`CLIPPretrain`.

        Training images have the tower's own size, ``vision_cfg.image_size``.
        """
        outputs = super().forward(batched_inputs)
        distillation = self.system.distillation
        statistics = None if distillation is None else distillation.statistics
        if self.training and statistics is not None and has_event_storage():
            storage = get_event_storage()
            storage.put_scalar("masked_distill/codes_in_use", statistics.codes_in_use.item())
            storage.put_scalar("masked_distill/target_entropy", statistics.target_entropy.item())
        return outputs


def _build_distillation(cfg: CfgNode, tower: CLIPTower) -> MaskedDistillation:
    options = cfg.MODEL.MASKED_DISTILL
    heads = image_heads(tower)  # refuses towers other than ViTs
    pixels = options.TARGET == "pixels"
    decoder = PatchDecoder(
        tower.width,
        tower.grid,
        out_dim=3 * tower.patch_size[0] * tower.patch_size[1] if pixels else None,
        num_layers=options.DECODER_LAYERS,
        num_heads=options.DECODER_HEADS or heads,
    )
    tokenizer = None
    if not pixels:
        tokenizer = OnlineTokenizer(
            tower.width,
            options.NUM_CODES,
            hidden_dim=options.HIDDEN_DIM,
            code_dim=options.CODE_DIM,
        )
    return MaskedDistillation(
        tower,
        decoder=decoder,
        tokenizer=tokenizer,
        target=options.TARGET,
        mask_ratio=options.MASK_RATIO,
        momentum=options.MOMENTUM,
        student_temperature=options.STUDENT_TEMPERATURE,
        teacher_temperature=options.TEACHER_TEMPERATURE,
        center_momentum=options.CENTER_MOMENTUM,
    )


def _build_language(cfg: CfgNode, tower: CLIPTower) -> MaskedLanguage:
    options = cfg.MODEL.MASKED_DISTILL.LANGUAGE
    decoder = TokenDecoder(
        token_table(tower).shape[1],
        tower.context_length,
        num_layers=options.DECODER_LAYERS,
        num_heads=options.DECODER_HEADS or text_heads(tower),
    )
    return MaskedLanguage(
        tower, decoder=decoder, mask_ratio=options.MASK_RATIO, replace=options.REPLACE
    )
