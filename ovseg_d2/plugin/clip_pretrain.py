"""CLIPPretrain as a meta-architecture: contrastive training of CLIP, inference as MaskCLIP."""

from typing import Any

import torch
from torch import Tensor

from ..clip import CLIPTower
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..systems import CLIPPretrain as CLIPPretrainSystem
from ..systems import MaskCLIP as MaskCLIPSystem
from .clip_parts import build_tower
from .fitting import ImageResizer
from .inputs import InputReader, build_inputs, image_name
from .maskclip import MaskCLIP, maskclip_options

__all__ = ["CLIPPretrain", "pretrain_options"]


def pretrain_options(cfg: CfgNode) -> dict[str, Any]:
    """Return the plain CLIPPretrain's arguments from ``MODEL.CLIP_PRETRAIN``."""
    options = cfg.MODEL.CLIP_PRETRAIN
    return {
        "max_logit_scale": options.MAX_LOGIT_SCALE,
        "attention_only": options.ATTENTION_ONLY,
    }


@META_ARCH_REGISTRY.register()
class CLIPPretrain(MaskCLIP):
    """Contrastive training on images with captions (adapter of the system).

    In evaluation it segments as MaskCLIP on the current weights, so that a training shows how good
    they are for dense prediction.
    """

    @configurable
    def __init__(
        self,
        *,
        system: CLIPPretrainSystem,
        inputs: InputReader,
        maskclip: MaskCLIPSystem,
        resize: bool = False,
    ) -> None:
        """Build the adapter of its parts.

        Args:
            system: the plain module.
            inputs: reads input dicts; its text bank is on the system's tower.
            maskclip: scores pixels, on the system's tower.
            resize: training images that differ in size, or are larger than the tower's own size,
                are resized to that.
        """
        super().__init__(system=system, inputs=inputs, maskclip=maskclip)
        self._resize = ImageResizer() if resize else None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.CLIP_PRETRAIN`` and what :class:`MaskCLIP` reads.

        Images are resized unless ``INPUT.CAPTION_CROP.SIZE`` sets their size.
        """
        tower = build_tower(cfg)
        return {
            "system": cls.build_system(cfg, tower),
            "maskclip": MaskCLIPSystem(tower, **maskclip_options(cfg, tower)),
            "inputs": build_inputs(cfg, tower),
            "resize": not cfg.INPUT.CAPTION_CROP.SIZE,
        }

    @classmethod
    def build_system(cls, cfg: CfgNode, tower: CLIPTower) -> CLIPPretrainSystem:
        """Build the plain module that a config describes, on a tower."""
        return CLIPPretrainSystem(tower, **pretrain_options(cfg))

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image`` (3, H, W), ``drawn_captions``, a list of texts, as many for every
        image, and optionally ``wrong_captions``, a list of texts that are wrong for the image.

        Raises:
            ValueError: training images without captions, or of different sizes.
        """
        if not self.training:
            return super().forward(batched_inputs)
        for sample in batched_inputs:
            if "drawn_captions" not in sample:
                raise ValueError(
                    f"{image_name(sample)} comes without captions; set INPUT.TRAIN_MAPPER to "
                    "captions"
                )
        if self._resize is not None:
            size = self.system.tower.image_size
            images = torch.cat(self._resize([*map(self.rgb_image, batched_inputs)], size))
        else:
            images = self.rgb_batch(batched_inputs)
        captions = [sample["drawn_captions"] for sample in batched_inputs]
        wrong = [sample.get("wrong_captions", ()) for sample in batched_inputs]
        return self.system(images, captions, wrong)
