"""Upper bounds of OVSeg: the labels take the place of its masks, or of its masks' classes.

Paper: [ovseg] Sec. 1, where true masks gain little and true classes much: naming the masks is the
bottleneck.
"""

from typing import Any

import torch
from torch import Tensor

from ..data.labels import LabelReader
from ..plugin import OVSeg
from ..systems import OVSeg as OVSegSystem
from ..systems import oracle_proposals, truth_proposals
from ..text import ClassTexts
from .model_wrapper import ModelWrapper

__all__ = ["OVSegTrueClasses", "OVSegTrueMasks"]


class _OVSegCeiling(ModelWrapper):
    def __init__(self, model: OVSeg) -> None:
        super().__init__(model)
        self._read_labels = LabelReader()

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Tensor]]:
        """``sem_seg`` (K, H, W) scores from each input's ``image`` and ``sem_seg_file_name``."""
        return [{"sem_seg": self._score(batched_input)} for batched_input in batched_inputs]

    def _labels_of(self, batched_input: dict[str, Any]) -> tuple[Tensor, int]:
        """(H, W) long labels, and the number of classes."""
        labels = torch.from_numpy(self._read_labels(batched_input)).to(self.model.device)
        return labels, len(self.model.vocabulary_of(batched_input))

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        raise NotImplementedError


class OVSegTrueMasks(_OVSegCeiling):
    """True masks, one for each class of the image, classified by the model from their crops.

    ``MODEL.OVSEG.CROP.FILL`` applies to the background of the crops.
    """

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        labels, num_classes = self._labels_of(batched_input)
        size = tuple(batched_input["image"].shape[-2:])
        return self.model.score(batched_input, truth_proposals(labels, num_classes, size))


class OVSegTrueClasses(_OVSegCeiling):
    """The model's proposals, each with the class of the object that it overlaps most."""

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        labels, num_classes = self._labels_of(batched_input)
        proposals = oracle_proposals(self.model.propose(batched_input), labels, num_classes)
        image = self.model.rgb_image(batched_input)
        height, width = image.shape[-2:]
        size = batched_input.get("height", height), batched_input.get("width", width)
        # The classes of the masks are known, so that no text is compared.
        texts = ClassTexts(image.new_zeros(num_classes, 1))
        fusion_only = OVSegSystem(None, None, lam=0.0)
        return fusion_only.score_masks(image[0], proposals, texts, size)
