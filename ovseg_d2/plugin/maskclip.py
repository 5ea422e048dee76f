"""MaskCLIP as a meta-architecture."""

import logging
from typing import Any

from ..clip import CLIPTower, local_feature_advice
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..ops import Background, Refinement
from ..systems import MaskCLIP as MaskCLIPSystem
from ..text import TextBank
from ..vocab import Vocabulary
from .base import open_vocabulary_options
from .build import build_last_block, build_tower
from .pixel_scores import PixelScoringModel

__all__ = ["MaskCLIP", "maskclip_options"]

_logger = logging.getLogger(__name__)


def maskclip_options(cfg: CfgNode, tower: CLIPTower) -> dict[str, Any]:
    """Arguments of the plain MaskCLIP from ``MODEL.CLIP.LAST_BLOCK`` and ``MODEL.MASKCLIP``.

    A tower that is known to be poor at dense features draws a warning.
    """
    options = cfg.MODEL.MASKCLIP
    last_block = build_last_block(cfg)
    advice = local_feature_advice(tower, last_block)
    if advice:
        _logger.warning("MODEL.CLIP.NAME %s: %s", cfg.MODEL.CLIP.NAME, advice)
    return {
        "last_block": last_block,
        "refine": Refinement(
            prompt_denoising=options.PROMPT_DENOISING or None,
            key_smoothing=options.KEY_SMOOTHING or None,
        ),
        "background": Background(
            threshold=options.BACKGROUND_THRESHOLD or None,
            min_share=options.BACKGROUND_MIN_SHARE or None,
        ),
        "window": options.WINDOW or None,
        "stride": options.STRIDE or None,
        "logit_scale": options.LOGIT_SCALE or None,
        "official": options.OFFICIAL,
    }


@META_ARCH_REGISTRY.register()
class MaskCLIP(PixelScoringModel):
    """Training-free segmentation by frozen CLIP features (adapter of the system)."""

    @configurable
    def __init__(
        self,
        *,
        system: MaskCLIPSystem,
        text_bank: TextBank,
        vocabulary: Vocabulary | None = None,
        word_list: Vocabulary | None = None,
        image_format: str = "RGB",
    ) -> None:
        """Put built parts together.

        Args:
            system: the plain module.
            text_bank: on the same tower.
            vocabulary: the default words.
            word_list: other words for the datasets' classes, in their order.
            image_format: order of the input's channels, RGB or BGR.
        """
        super().__init__(
            text_bank=text_bank,
            vocabulary=vocabulary,
            word_list=word_list,
            image_format=image_format,
        )
        self.system = system

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.CLIP``, ``.TEXT``, ``.MASKCLIP``, ``DATASETS.TEST`` and ``INPUT.FORMAT``.

        The tower is frozen: this system is not trained.
        """
        tower = build_tower(cfg).requires_grad_(False)
        return {
            "system": MaskCLIPSystem(tower, **maskclip_options(cfg, tower)),
            **open_vocabulary_options(cfg, tower),
        }

    @property
    def maskclip(self) -> MaskCLIPSystem:
        """The module that scores patches."""
        return self.system

    @property
    def scorer(self) -> MaskCLIPSystem:
        """What answers: the same."""
        return self.maskclip
