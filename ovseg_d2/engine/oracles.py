"""What OVSeg could reach with perfect masks, or with perfect names: pseudo-models that read labels.

Paper: [ovseg] Sec. 1, where the first is low and the second high: CLIP's names are the bottleneck.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..data.labels import LabelReader
from ..plugin import OVSeg
from ..systems import OVSeg as OVSegSystem
from ..systems import oracle_proposals, truth_proposals
from ..text import ClassTexts

__all__ = ["TruthLabels", "TruthMasks"]


class TruthMasks(nn.Module):
    """The truth's masks, one for each class of the image, named by CLIP from their crops.

    Crops are the model's: ``MODEL.OVSEG.CROP.FILL`` says what becomes of their background.
    """

    def __init__(self, model: OVSeg) -> None:
        """Take crops, CLIP and vocabulary from a model."""
        super().__init__()
        self._read_labels = LabelReader()
        self.model = model
        self.train(model.training)  # evaluation puts the mode back that it finds here

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` scores from each input's ``image`` and ``sem_seg_file_name``."""
        outputs = []
        for each in batched_inputs:
            size = each["image"].shape[-2:]
            num_classes = len(self.model.vocabulary_of(each))
            labels = torch.from_numpy(self._read_labels(each)).to(self.model.device)
            found = truth_proposals(labels, num_classes, tuple(size))
            outputs.append({"sem_seg": self.model.score(each, found)})
        return outputs


class TruthLabels(nn.Module):
    """The model's proposals, each with the class of the object that it overlaps most."""

    def __init__(self, model: OVSeg) -> None:
        """Take proposals and vocabulary from a model."""
        super().__init__()
        self._read_labels = LabelReader()
        self.model = model
        self.train(model.training)  # evaluation puts the mode back that it finds here

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` scores from each input's ``image`` and ``sem_seg_file_name``."""
        return [{"sem_seg": self._score(each)} for each in batched_inputs]

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        labels = torch.from_numpy(self._read_labels(batched_input)).to(self.model.device)
        num_classes = len(self.model.vocabulary_of(batched_input))
        found = oracle_proposals(self.model.propose(batched_input), labels, num_classes)
        image = self.model.rgb_image(batched_input)
        height, width = image.shape[-2:]
        size = batched_input.get("height", height), batched_input.get("width", width)
        # Without words: the truth has named the masks.
        texts = ClassTexts(image.new_zeros(num_classes, 1))
        fusion_only = OVSegSystem(None, None, lam=0.0)
        return fusion_only.score_masks(image[0], found, texts, size)
