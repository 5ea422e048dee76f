"""Upper bounds of MaskCLIP: modules that read the labels and are evaluated like a model.

Every result is reported with its ceilings beside it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.labels import LabelReader
from ..ops import pool_masks, upsample_scores
from ..plugin import MaskCLIP, OVSeg
from .model_wrapper import ModelWrapper
from .ovseg_ceilings import OVSegTrueClasses, OVSegTrueMasks

__all__ = [
    "MASKCLIP_CEILINGS",
    "OVSEG_CEILINGS",
    "PatchCeiling",
    "TrueMaskCeiling",
    "patch_shares",
    "with_ceiling",
]


def patch_shares(labels: Tensor, num_classes: int, patch_size: tuple[int, int]) -> Tensor:
    """The share of each patch that each class covers.

    Args:
        labels: (H, W) long; values outside [0, K) count for no class.
        num_classes: K.
        patch_size: (h, w) in pixels; the last patches may reach over the border.

    Returns:
        (K, h, w) float32 in [0, 1].
    """
    valid = (labels >= 0) & (labels < num_classes)
    one_hot = F.one_hot(labels.where(valid, 0), num_classes).permute(2, 0, 1) * valid
    height, width = labels.shape
    pad = (0, -width % patch_size[1], 0, -height % patch_size[0])
    return F.avg_pool2d(F.pad(one_hot.float(), pad)[None], patch_size)[0]


class _MaskCLIPCeiling(ModelWrapper):
    def __init__(self, model: MaskCLIP) -> None:
        super().__init__(model)
        self._read_labels = LabelReader()

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` (K, H, W) scores from each input's ``image`` and ``sem_seg_file_name``."""
        return [{"sem_seg": self._score(batched_input)} for batched_input in batched_inputs]

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        raise NotImplementedError


class PatchCeiling(_MaskCLIPCeiling):
    """True labels at the tower's patch resolution: each patch scores the shares of its classes.

    It bounds every method with one score per class and patch that resizes bilinearly; the rest to
    100 % is lost by the resolution.
    """

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        patch = self.model.maskclip.tower.patch_size
        labels = torch.from_numpy(self._read_labels(batched_input))
        shares = patch_shares(labels, len(self.model.vocabulary_of(batched_input)), patch)
        padded = shares.shape[1] * patch[0], shares.shape[2] * patch[1]
        return upsample_scores(shares, padded, (labels.shape[0], labels.shape[1]))


class TrueMaskCeiling(_MaskCLIPCeiling):
    """True masks with the method's classifier: the gain from better masks alone; one-hot scores.

    The model's dense features are averaged inside each labelled region (one per class of the
    image), and the region takes the class with the nearest text.
    """

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        model = self.model
        labels = torch.from_numpy(self._read_labels(batched_input))
        texts = model.class_texts(batched_input)
        num_classes = texts.num_classes
        image = model.rgb_image(batched_input)
        tower = model.maskclip.tower
        feats = tower.dense_feats(
            tower.normalize(image),
            model.maskclip.last_block,
            guide=model.maskclip.guide_feats(image),
        )
        # Labels at the size of the image behind the features, so that their patches coincide.
        resized = F.interpolate(labels[None, None].double(), image.shape[-2:])[0, 0].long()
        shares = patch_shares(resized, num_classes, tower.patch_size).to(feats)
        feats = F.adaptive_avg_pool2d(feats, shares.shape[1:])  # a guide has a grid of its own
        pooled = F.normalize(pool_masks(feats, shares[None])[0], dim=-1)
        named = texts.best_of_words(pooled @ texts.embeds.t(), dim=1).argmax(dim=1).cpu()
        valid = (labels >= 0) & (labels < num_classes)
        painted = named[labels.where(valid, 0)]
        return F.one_hot(painted, num_classes).permute(2, 0, 1).float()


# Values of TEST.CEILING.
MASKCLIP_CEILINGS: dict[str, type[nn.Module]] = {"patch": PatchCeiling, "gt_masks": TrueMaskCeiling}
OVSEG_CEILINGS: dict[str, type[nn.Module]] = {
    "gt_masks": OVSegTrueMasks,
    "gt_labels": OVSegTrueClasses,
}


def with_ceiling(name: str, model: nn.Module) -> nn.Module:
    """The ceiling of a model that ``TEST.CEILING`` names; the model itself for "".

    Raises:
        ValueError: an unknown name, or a model without ceilings.
    """
    if not name:
        return model
    known = OVSEG_CEILINGS if isinstance(model, OVSeg) else MASKCLIP_CEILINGS
    if name not in known:
        raise ValueError(
            f"TEST.CEILING {name!r} is not one of {', '.join(known)}, which "
            f"{type(model).__name__} has"
        )
    if not isinstance(model, MaskCLIP | OVSeg):
        raise ValueError(
            f"TEST.CEILING {name!r} needs the patches of MaskCLIP, which {type(model).__name__} "
            "does not have; leave it empty, or evaluate MaskCLIP"
        )
    return known[name](model)
