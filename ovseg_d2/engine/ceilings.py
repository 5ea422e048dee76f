"""What a method could reach at most: pseudo-models that read the labels.

They answer as a meta-architecture does, so that the same evaluator measures them; every result is
reported with its ceilings beside it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.labels import LabelReader
from ..ops import pool_masks, upsample_scores
from ..plugin import MaskCLIP, OVSeg
from .oracles import TruthLabels, TruthMasks

__all__ = ["CEILINGS", "ORACLES", "GroundTruthMasks", "PatchOracle", "patch_shares", "with_ceiling"]


def patch_shares(labels: Tensor, num_classes: int, patch_size: tuple[int, int]) -> Tensor:
    """How much of each patch each class covers.

    Args:
        labels: (H, W) long; what is no class counts for none.
        num_classes: K.
        patch_size: (h, w) in pixels; the last patches may hang over.

    Returns:
        (K, h, w) float32 in [0, 1].
    """
    valid = (labels >= 0) & (labels < num_classes)
    one_hot = F.one_hot(labels.where(valid, 0), num_classes).permute(2, 0, 1) * valid
    height, width = labels.shape
    pad = (0, -width % patch_size[1], 0, -height % patch_size[0])
    return F.avg_pool2d(F.pad(one_hot.float(), pad)[None], patch_size)[0]


class PatchOracle(nn.Module):
    """Perfect knowledge at the tower's patch resolution: each patch scores its classes' shares.

    No method that gives one score per class and patch and resizes bilinearly can know more of a
    patch; what is missing to 100 is the resolution's.
    """

    def __init__(self, model: MaskCLIP) -> None:
        """Take patch size and vocabulary from a model."""
        super().__init__()
        self._read_labels = LabelReader()
        self.model = model

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` scores from each input's ``sem_seg_file_name``."""
        patch = self.model.maskclip.tower.patch_size
        outputs = []
        for each in batched_inputs:
            labels = torch.from_numpy(self._read_labels(each))
            shares = patch_shares(labels, len(self.model.vocabulary_of(each)), patch)
            padded = shares.shape[1] * patch[0], shares.shape[2] * patch[1]
            size = labels.shape[0], labels.shape[1]
            outputs.append({"sem_seg": upsample_scores(shares, padded, size)})
        return outputs


class GroundTruthMasks(nn.Module):
    """Exact masks, named by the method's classifier: what better masks alone would give.

    The model's dense features are averaged inside each labelled region (one per class of the
    image), and the region takes the class whose text is nearest.
    """

    def __init__(self, model: MaskCLIP) -> None:
        """Take features and vocabulary from a model."""
        super().__init__()
        self._read_labels = LabelReader()
        self.model = model

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` one-hot scores from each input's ``image`` and ``sem_seg_file_name``."""
        return [{"sem_seg": self._paint(each)} for each in batched_inputs]

    def _paint(self, batched_input: dict[str, Any]) -> Tensor:
        model = self.model
        labels = torch.from_numpy(self._read_labels(batched_input))
        texts = model.class_texts(batched_input)
        num_classes = texts.num_classes
        image = model.rgb_image(batched_input)
        tower = model.maskclip.tower
        feats = tower.dense_feats(tower.normalize(image), model.maskclip.last_block)
        # Labels at the size the features were taken at, so that their patches coincide.
        resized = F.interpolate(labels[None, None].double(), image.shape[-2:])[0, 0].long()
        shares = patch_shares(resized, num_classes, tower.patch_size).to(feats)
        pooled = F.normalize(pool_masks(feats, shares[None])[0], dim=-1)
        named = texts.best_of_words(pooled @ texts.embeds.t(), dim=1).argmax(dim=1).cpu()
        valid = (labels >= 0) & (labels < num_classes)
        painted = named[labels.where(valid, 0)]
        return F.one_hot(painted, num_classes).permute(2, 0, 1).float()


# Of models that score patches as MaskCLIP does, and of those that name masks.
CEILINGS: dict[str, type[nn.Module]] = {"patch": PatchOracle, "gt_masks": GroundTruthMasks}
ORACLES: dict[str, type[nn.Module]] = {"gt_masks": TruthMasks, "gt_labels": TruthLabels}


def with_ceiling(name: str, model: nn.Module) -> nn.Module:
    """The pseudo-model that ``TEST.CEILING`` names, on a model; the model itself for "".

    Raises:
        ValueError: an unknown name, or a model that it is not about.
    """
    if not name:
        return model
    known = ORACLES if isinstance(model, OVSeg) else CEILINGS
    if name not in known:
        raise ValueError(
            f"TEST.CEILING {name!r} is not one of {', '.join(known)}, which "
            f"{type(model).__name__} has"
        )
    if not isinstance(model, MaskCLIP | OVSeg):
        raise ValueError(
            f"TEST.CEILING {name!r} is about MaskCLIP's patches, which {type(model).__name__} does "
            "not answer with; leave it empty, or evaluate MaskCLIP"
        )
    return known[name](model)
