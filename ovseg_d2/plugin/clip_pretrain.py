"""CLIPPretrain as a meta-architecture: trains CLIP, answers as MaskCLIP."""

from typing import Any

from torch import Tensor

from ..clip import CLIPTower
from ..d2.config import CfgNode
from ..d2.modeling import META_ARCH_REGISTRY
from ..systems import CLIPPretrain as CLIPPretrainSystem
from ..systems import MaskCLIP as MaskCLIPSystem
from .build import build_tower
from .inputs import build_inputs
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

    In evaluation it segments as MaskCLIP on the current weights, so that training shows what they
    are worth for dense prediction.
    """

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.CLIP_PRETRAIN`` and what :class:`MaskCLIP` reads."""
        tower = build_tower(cfg)
        return {
            "system": cls.build_system(cfg, tower),
            "maskclip": MaskCLIPSystem(tower, **maskclip_options(cfg, tower)),
            "inputs": build_inputs(cfg, tower),
        }

    @classmethod
    def build_system(cls, cfg: CfgNode, tower: CLIPTower) -> CLIPPretrainSystem:
        """The plain module that a config describes, on a tower."""
        return CLIPPretrainSystem(tower, **pretrain_options(cfg))

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
        images = self.rgb_batch(batched_inputs)
        captions = [each["drawn_captions"] for each in batched_inputs]
        wrong = [each.get("wrong_captions", ()) for each in batched_inputs]
        return self.system(images, captions, wrong)
