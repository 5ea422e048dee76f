"""MaskCLIP as a meta-architecture."""

from typing import Any

import torch
from torch import Tensor

from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..ops import dense_argmax, upsample_scores
from ..systems import MaskCLIP as MaskCLIPSystem
from ..text import TextBank
from ..vocab import Vocabulary
from .base import OpenVocabularyModel, config_vocabulary
from .build import build_last_block, build_text_bank, build_tower

__all__ = ["MaskCLIP"]


@META_ARCH_REGISTRY.register()
class MaskCLIP(OpenVocabularyModel):
    """Training-free segmentation by frozen CLIP features (adapter of the system)."""

    @configurable
    def __init__(
        self,
        *,
        system: MaskCLIPSystem,
        text_bank: TextBank,
        vocabulary: Vocabulary | None = None,
        image_format: str = "RGB",
    ) -> None:
        """Put built parts together.

        Args:
            system: the plain module.
            text_bank: on the same tower.
            vocabulary: the default words.
            image_format: order of the input's channels, RGB or BGR.
        """
        super().__init__(text_bank=text_bank, vocabulary=vocabulary, image_format=image_format)
        self.system = system

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.CLIP``, ``MODEL.TEXT``, ``DATASETS.TEST`` and ``INPUT.FORMAT``.

        The tower is frozen: this system is not trained.
        """
        tower = build_tower(cfg).requires_grad_(False)
        return {
            "system": MaskCLIPSystem(tower, last_block=build_last_block(cfg)),
            "text_bank": build_text_bank(cfg, tower),
            "vocabulary": config_vocabulary(cfg),
            "image_format": cfg.INPUT.FORMAT,
        }

    @property
    def maskclip(self) -> MaskCLIPSystem:
        """The module that scores patches."""
        return self.system

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """Segment a batch; images may differ in size and in vocabulary.

        Args:
            batched_inputs: dicts with ``image`` (3, h, w) of 0 to 255, and optionally ``height``
                and ``width`` of the answer, ``classes``, ``dataset_name``.

        Returns:
            For each, ``sem_seg``: (K, height, width) cosine scores.
        """
        return [{"sem_seg": upsample_scores(*self._score(each))} for each in batched_inputs]

    @torch.no_grad()
    def segment(self, batched_inputs: list[dict[str, Any]]) -> list[Tensor]:
        """Labels alone, (height, width) long for each input; never holds all classes' scores."""
        labels = []
        for batched_input in batched_inputs:
            scores, padded, size, out = self._score(batched_input)
            labels.append(dense_argmax(scores, out, crop=padded, image_size=size))
        return labels

    def _score(
        self, batched_input: dict[str, Any]
    ) -> tuple[Tensor, tuple[int, int], tuple[int, int], tuple[int, int]]:
        """(K, h, w) scores; pixels of the padded image, of the image, and of the answer."""
        image = self.rgb_image(batched_input)
        scores = self.maskclip(image, self.embed_vocabulary(batched_input))[0]
        size = image.shape[-2], image.shape[-1]
        patch = self.maskclip.tower.patch_size
        padded = scores.shape[-2] * patch[0], scores.shape[-1] * patch[1]
        out = batched_input.get("height", size[0]), batched_input.get("width", size[1])
        return scores, padded, size, out
