"""The proposals of a trained OVSeg as masks for any purpose, such as mining pairs from captions."""

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
    """The masks that a model proposes and holds for objects, most certain first; they may overlap.

    Paper: [ovseg] Sec. 3.3, whose pairs are mined from such proposals.
    """

    def __init__(
        self, model: nn.Module, mapper: TestMapper, *, score: float = 0.5, threshold: float = 0.5
    ) -> None:
        """Take a model, on whatever device it is.

        Args:
            model: has ``propose``, as the meta-architecture `OVSeg`; put into eval mode.
            mapper: prepares pictures as the model wants them.
            score: proposals whose probabilities of all classes sum up to less are dropped; where
                the model knows no classes all are kept.
            threshold: a pixel above it is inside of a soft mask.

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
        """Build what a config describes.

        Args:
            weights: a checkpoint of OVSeg or of its MaskFormer, or "random".
            config: a config file of OVSeg.
            score: see the constructor.
            threshold: likewise.
            device: where the model runs.

        Raises:
            FileNotFoundError: a file that is not there.
            ValueError: a config or a checkpoint of another kind, or what the constructor refuses.
        """
        cfg = load_config(config, ["MODEL.WEIGHTS", weights, "MODEL.DEVICE", device])
        model, _ = load_model(cfg, build=_build_proposer)
        return cls(model, TestMapper.from_config(cfg), score=score, threshold=threshold)

    @torch.no_grad()
    def __call__(self, image: np.ndarray, file_name: str = "") -> np.ndarray:
        """(Q, H, W) bool masks of a picture (H, W, 3) uint8 RGB; its name plays no part."""
        found = self._model.propose(self._mapper.prepare(image))
        masks = found.masks.float()
        if found.probs is not None:
            scores, order = found.probs.sum(dim=1).sort(descending=True, stable=True)
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
