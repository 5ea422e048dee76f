"""CLIPPretrain as a meta-architecture: trains CLIP, answers as MaskCLIP."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..clip import CLIPTower
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..systems import CLIPPretrain as CLIPPretrainSystem
from ..systems import MaskCLIP as MaskCLIPSystem
from ..text import TextBank
from ..vocab import Vocabulary
from .base import open_vocabulary_options
from .build import build_tower
from .maskclip import MaskCLIP, maskclip_options

__all__ = ["CLIPPretrain", "pretrain_options"]


def pretrain_options(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of the plain CLIPPretrain from ``MODEL.CLIP_PRETRAIN``."""
    options = cfg.MODEL.CLIP_PRETRAIN
    return {
        "max_logit_scale": options.MAX_LOGIT_SCALE,
        "attention_only": options.ATTENTION_ONLY,
    }


@META_ARCH_REGISTRY.register()
class CLIPPretrain(MaskCLIP):
    """Contrastive training on pictures with captions (adapter of the system).

    In evaluation it segments as MaskCLIP does on the weights of the moment, so that training shows
    what they are worth for dense prediction.
    """

    @configurable
    def __init__(
        self,
        *,
        system: CLIPPretrainSystem,
        text_bank: TextBank,
        maskclip: Mapping[str, Any] | None = None,
        vocabulary: Vocabulary | None = None,
        word_list: Vocabulary | None = None,
        image_format: str = "RGB",
    ) -> None:
        """Put built parts together.

        Args:
            system: the plain module.
            text_bank: on the system's tower.
            maskclip: arguments of the plain MaskCLIP, for segmentation.
            vocabulary: the default words.
            word_list: other words for the datasets' classes, in their order.
            image_format: order of the input's channels, RGB or BGR.
        """
        super().__init__(
            system=system,
            text_bank=text_bank,
            vocabulary=vocabulary,
            word_list=word_list,
            image_format=image_format,
        )
        self._maskclip = dict(maskclip or {})

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.CLIP_PRETRAIN`` and what :class:`MaskCLIP` reads."""
        tower = build_tower(cfg)
        return {
            "system": cls.build_system(cfg, tower),
            "maskclip": maskclip_options(cfg, tower),
            **open_vocabulary_options(cfg, tower),
        }

    @classmethod
    def build_system(cls, cfg: CfgNode, tower: CLIPTower) -> CLIPPretrainSystem:
        """The plain module that a config describes, on a tower."""
        return CLIPPretrainSystem(tower, **pretrain_options(cfg))

    @property
    def maskclip(self) -> MaskCLIPSystem:
        """The weights of the moment, as MaskCLIP reads them."""
        return MaskCLIPSystem(self.system.tower, **self._maskclip)

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image``, ``drawn_captions`` and, where there are any, ``wrong_captions``.

        Raises:
            ValueError: training images of different sizes.
        """
        if not self.training:
            return super().forward(batched_inputs)
        shapes = {tuple(each["image"].shape) for each in batched_inputs}
        if len(shapes) > 1:
            raise ValueError(f"training images must be of one size, got {sorted(shapes)}")
        images = torch.cat([self.rgb_image(each) for each in batched_inputs])
        captions = [each["drawn_captions"] for each in batched_inputs]
        wrong = [each.get("wrong_captions", ()) for each in batched_inputs]
        return self.system(images, captions, wrong)
