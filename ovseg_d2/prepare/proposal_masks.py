"""The proposals of a trained OVSeg as a mask source, such as for mining pairs from captions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..config import load_config
from ..d2.config import CfgNode
from ..data.mappers import TestMapper
from ..data.masks import ShapesRegions
from ..engine.loading import load_model
from ..masks import MASK_SOURCES, MaskSource, MaskSources, build_mask_source, option_names
from ..plugin import build_model

__all__ = ["ALL_MASK_SOURCES", "ProposalMasks", "build_source"]


class ProposalMasks:
    """A model's proposals of objects as masks, by falling class score; they may overlap.

    Paper: [ovseg] Sec. 3.3, whose pairs are mined from such proposals.
    """

    def __init__(
        self, model: nn.Module, mapper: TestMapper, *, score: float = 0.5, threshold: float = 0.5
    ) -> None:
        """Take a model on any device.

        Args:
            model: with ``propose``, as the meta-architecture `OVSeg`; it is set to eval mode.
            mapper: prepares images for the model.
            score: proposals whose class probabilities have a smaller sum are dropped; without
                class probabilities all are kept.
            threshold: pixels of a soft mask above it are inside.

        Raises:
            ValueError: numbers outside [0, 1].
        """
        for name, value in (("score", score), ("threshold", threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; give a number from 0 to 1")
        self._model = model.eval()
        self._mapper = mapper
        self._score = score
        self._threshold = threshold

    @classmethod
    def load(
        cls,
        *,
        weights: str,
        config: str = "configs/ovseg.yaml",
        score: float = 0.5,
        threshold: float = 0.5,
        device: str = "cpu",
    ) -> "ProposalMasks":
        """Load the model of a config.

        Args:
            weights: a checkpoint of OVSeg or of its MaskFormer, or "random".
            config: a config file of OVSeg.
            score: see the constructor.
            threshold: see the constructor.
            device: of the model.

        Raises:
            FileNotFoundError: a file does not exist.
            ValueError: a config or a checkpoint of another model, or numbers outside [0, 1].
        """
        cfg = load_config(config, ["MODEL.WEIGHTS", weights, "MODEL.DEVICE", device])
        model, _ = load_model(cfg, build=_build_proposer)
        return cls(model, TestMapper.from_config(cfg), score=score, threshold=threshold)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of an image (H, W, 3) uint8 RGB; its name is not used."""
        proposals = self._model.propose(self._mapper.prepare(image))
        masks = proposals.masks.float()
        if proposals.probs is not None:
            scores, order = proposals.probs.sum(dim=1).sort(descending=True, stable=True)
            masks = masks[order[scores >= self._score]]
        if masks.shape[1:] != image.shape[:2]:
            masks = F.interpolate(
                masks[None], size=image.shape[:2], mode="bilinear", align_corners=False
            )[0]
        inside = (masks > self._threshold).cpu().numpy()
        return inside[inside.any(axis=(1, 2))]


def _build_proposer(cfg: CfgNode) -> nn.Module:
    model = build_model(cfg)
    if not hasattr(model, "propose"):
        raise ValueError(
            f"{type(model).__name__} proposes no masks; give a config of OVSeg, such as "
            "configs/ovseg.yaml"
        )
    return model


# Those of ``masks``, and those that need the Shapes world or a trained model.
ALL_MASK_SOURCES: MaskSources = {
    "shapes": ShapesRegions,
    **MASK_SOURCES,
    "maskformer": ProposalMasks.load,
}


def build_source(name: str, options: Mapping[str, Any], device: str = "cpu") -> MaskSource:
    """Build one of `ALL_MASK_SOURCES`; a source that runs a network runs it on ``device``.

    Arguments and errors are otherwise those of :func:`~ovseg_d2.masks.build_mask_source`.
    """
    takes_device = "device" in option_names(name, ALL_MASK_SOURCES)
    more = {"device": device} if takes_device else {}
    return build_mask_source(name, ALL_MASK_SOURCES, **options, **more)
