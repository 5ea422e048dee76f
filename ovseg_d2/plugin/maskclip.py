"""MaskCLIP as a meta-architecture."""

import logging
import os
from functools import lru_cache
from typing import Any

from torch import nn

from ..clip import CLIPTower, local_feature_advice
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..masks import PatchFeatures, PatchNetwork, load_patch_network
from ..ops import Background, GuidedUpsampling, PixelRefinement, Propagation, Refinement
from ..systems import MaskCLIP as MaskCLIPSystem
from ..systems import Spreading
from .clip_parts import build_last_block, build_tower
from .inputs import InputReader, build_inputs
from .open_vocabulary import PixelScoringModel

__all__ = ["MaskCLIP", "maskclip_options"]

_logger = logging.getLogger(__name__)


def maskclip_options(cfg: CfgNode, tower: CLIPTower) -> dict[str, Any]:
    """Return the plain MaskCLIP's arguments from ``MODEL.CLIP.LAST_BLOCK`` and ``MODEL.MASKCLIP``.

    Logs a warning for a tower that is known to have poor dense features.
    """
    options = cfg.MODEL.MASKCLIP
    propagation = options.PROPAGATION
    guided = options.GUIDED
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
        "guided": (
            GuidedUpsampling(guided.RADIUS, guided.SPACE_STD, guided.COLOUR_STD)
            if guided.RADIUS
            else None
        ),
        "pixels": (
            PixelRefinement(options.PAMR.STEPS, tuple(options.PAMR.DILATIONS))
            if options.PAMR.STEPS
            else None
        ),
        "background": Background(
            threshold=options.BACKGROUND_THRESHOLD or None,
            min_share=options.BACKGROUND_MIN_SHARE or None,
        ),
        "window": options.WINDOW or None,
        "stride": options.STRIDE or None,
        "shifts": options.SHIFTS,
        "average": options.AVERAGE,
        "logit_scale": options.LOGIT_SCALE or None,
        "independent": options.INDEPENDENT,
        "guide": _build_guide(cfg) if last_block.needs_guide or propagation.ALPHA else None,
        "spreading": Spreading(
            mixing_scale=options.GLOBAL_MIXING or None,
            propagation=(
                Propagation(
                    alpha=propagation.ALPHA,
                    neighbours=propagation.NEIGHBOURS,
                    exponent=propagation.EXPONENT,
                    decay=propagation.DECAY,
                    steps=propagation.STEPS,
                )
                if propagation.ALPHA
                else None
            ),
        ),
        "official": options.OFFICIAL,
    }


def _build_guide(cfg: CfgNode) -> PatchFeatures | None:
    """Return the network that ``MODEL.MASKCLIP.GUIDE`` describes; None if it has no name."""
    guide = cfg.MODEL.MASKCLIP.GUIDE
    if not guide.NAME:
        return None
    if guide.WEIGHTS == "random":
        _logger.warning(
            "the guide has random weights (MODEL.MASKCLIP.GUIDE.WEIGHTS random): what it takes "
            "for similar is meaningless"
        )
    about = os.stat(guide.WEIGHTS) if os.path.isfile(guide.WEIGHTS) else None
    version = None if about is None else (about.st_mtime_ns, about.st_size)
    network = _load_guide(guide.NAME, guide.WEIGHTS, version)
    return PatchFeatures(network, size=guide.SIZE, features=guide.FEATURES)


@lru_cache(maxsize=1)  # test datasets with options of their own share one network
def _load_guide(name: str, weights: str, _version: tuple[int, int] | None) -> PatchNetwork:
    return load_patch_network(name, weights, key="MODEL.MASKCLIP.GUIDE.WEIGHTS")


@META_ARCH_REGISTRY.register()
class MaskCLIP(PixelScoringModel):
    """Training-free segmentation by frozen CLIP features (adapter of the system)."""

    @configurable
    def __init__(self, *, system: nn.Module, inputs: InputReader, maskclip: MaskCLIPSystem) -> None:
        """Build the adapter of its parts.

        Args:
            system: the MaskCLIP itself, or the system that trains its tower.
            inputs: reads input dicts; its text bank is on the same tower.
            maskclip: scores pixels, on the system's weights.
        """
        super().__init__(inputs)
        self.system = system
        # In a tuple, because its weights are the system's.
        self._maskclip = (maskclip,)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.CLIP``, ``.TEXT``, ``.MASKCLIP``, ``DATASETS.TEST`` and ``INPUT.FORMAT``.

        The tower is frozen.
        """
        tower = build_tower(cfg).requires_grad_(False)
        system = MaskCLIPSystem(tower, **maskclip_options(cfg, tower))
        return {"system": system, "maskclip": system, "inputs": build_inputs(cfg, tower)}

    def _set_options(self, cfg: CfgNode) -> None:
        self._maskclip = (self._build_maskclip(cfg),)

    def _build_maskclip(self, cfg: CfgNode) -> MaskCLIPSystem:
        """Build the MaskCLIP of a config on the tower of this one."""
        tower = self.maskclip.tower
        return MaskCLIPSystem(tower, **maskclip_options(cfg, tower))

    @property
    def maskclip(self) -> MaskCLIPSystem:
        """The MaskCLIP that scores patches and pixels, on the current weights."""
        return self._maskclip[0]

    @property
    def scorer(self) -> MaskCLIPSystem:
        """The system used for inference."""
        return self.maskclip
