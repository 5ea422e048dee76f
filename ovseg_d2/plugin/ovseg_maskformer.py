"""OVSegMaskFormer as a meta-architecture: training on labelled images, segmentation by text."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..clip import MaskPromptedTower
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..ops import split_labels
from ..systems import OVSegMaskFormer as OVSegMaskFormerSystem
from ..vocab import Vocabulary
from .clip_parts import build_tower
from .inputs import InputReader, build_inputs, dataset_vocabulary
from .label_training import check_labels, check_unseen, unseen_classes
from .open_vocabulary import PixelScoringModel
from .ovseg_head import build_maskformer

__all__ = ["OVSegMaskFormer", "seen_classes", "training_options"]

_logger = logging.getLogger(__name__)


@META_ARCH_REGISTRY.register()
class OVSegMaskFormer(PixelScoringModel):
    """Mask proposals classified by text embeddings (adapter of the system).

    CLIP is frozen, and checkpoints hold it.
    """

    @configurable
    def __init__(
        self,
        *,
        system: OVSegMaskFormerSystem | None,
        prompted: MaskPromptedTower,
        inputs: InputReader,
        leave_out_ignored: bool = True,
        unseen: Sequence[str] = (),
        ignore_label: int = 255,
    ) -> None:
        """Build the adapter of its parts.

        Args:
            system: the plain module; None if masks come from another source.
            prompted: the CLIP, with or without mask prompts; it is frozen here.
            inputs: reads input dicts; its text bank is on the tower of ``prompted``.
            leave_out_ignored: whether mask losses and matching leave out pixels without a class.
            unseen: classes and class sets of the training dataset that are not trained on.
            ignore_label: of training pixels without a class.
        """
        super().__init__(inputs)
        self.system = system
        self.prompted = prompted.requires_grad_(False).eval()
        self._leave_out_ignored = leave_out_ignored
        self._unseen = tuple(unseen)
        self._ignore_label = ignore_label
        self._training_words: dict[str, tuple[int, tuple[int, ...], Vocabulary]] = {}
        self._warned_of_no_object = False

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.OVSEG.MASKFORMER``, ``INPUT.SEMANTIC.UNSEEN``, and the backbone's keys.

        Raises:
            ValueError: a value that a part refuses, or unseen classes that a training set does not
                have.
        """
        check_unseen(cfg)
        tower = build_tower(cfg)
        return {
            "system": build_maskformer(cfg, tower.embed_dim),
            "prompted": MaskPromptedTower(tower, depth=0),
            **training_options(cfg),
            "inputs": build_inputs(cfg, tower),
        }

    def train(self, mode: bool = True) -> nn.Module:
        """Set the mode; CLIP stays in evaluation mode."""
        super().train(mode)
        self.prompted.eval()
        return self

    @property
    def needs_weights(self) -> bool:
        """Whether masks come from the MaskFormer, which starts from random weights."""
        return self.system is not None

    @property
    def scorer(self) -> Any:
        """The system used for inference."""
        return self.system

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image`` (3, H, W) and ``sem_seg`` (H, W), classes of the dataset, the
        ignore label, or a negative number; images may differ in size. Labels of unseen classes
        are ignored.

        Raises:
            ValueError: training images without ``sem_seg``, of datasets with different classes, or
                with a label that is no class.
        """
        return self._losses(batched_inputs) if self.training else super().forward(batched_inputs)

    def _losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        if self.system is None:
            raise ValueError(
                "there is no MaskFormer to train; set MODEL.OVSEG.PROPOSALS to maskformer"
            )
        if any("sem_seg" not in sample for sample in batched_inputs):
            raise ValueError(
                "training images come without sem_seg; set INPUT.TRAIN_MAPPER to semantic"
            )
        num_classes, seen_ids, seen = self._words_of(batched_inputs)
        labels = [self._number(sample, num_classes, seen_ids) for sample in batched_inputs]
        objects = [split_labels(label_map) for label_map in labels]
        if not self._warned_of_no_object and not any(len(ids) for ids, _ in objects):
            self._warned_of_no_object = True
            _logger.warning(
                "a training batch (%s) holds no pixel of a seen class, so nothing is learnt from "
                "it; with INPUT.TRAIN_MAPPER pictures or INPUT.SEMANTIC.ONLY_IGNORED True no batch "
                "does: set them to semantic and False",
                ", ".join(str(sample.get("file_name", "an image")) for sample in batched_inputs),
            )
        return self.system(
            [self.rgb_image(sample)[0] for sample in batched_inputs],
            self.text_bank.class_texts(seen),
            [ids for ids, _ in objects],
            [masks for _, masks in objects],
            ignored=[label_map < 0 for label_map in labels] if self._leave_out_ignored else None,
        )

    def _number(self, sample: dict[str, Any], num_classes: int, seen_ids: Sequence[int]) -> Tensor:
        """Return the labels (H, W) as indices into the seen classes; -1 for all other pixels."""
        labels = sample["sem_seg"].to(self.device)
        known = (labels >= 0) & (labels != self._ignore_label)
        check_labels(sample, num_classes, self._ignore_label)
        table = labels.new_full((num_classes,), -1)
        table[list(seen_ids)] = torch.arange(len(seen_ids), device=labels.device)
        return torch.where(known, table[labels.where(known, 0)], -1)

    def _words_of(
        self, batched_inputs: list[dict[str, Any]]
    ) -> tuple[int, tuple[int, ...], Vocabulary]:
        """Return a batch's number of classes, its seen classes, and their vocabulary."""
        names = {sample.get("dataset_name", "") for sample in batched_inputs}
        for name in names - self._training_words.keys():
            vocabulary = dataset_vocabulary(name)
            if vocabulary is None:
                raise ValueError(
                    f"training images are of the dataset {name!r}, which has no stuff_classes; set "
                    "them in its metadata"
                )
            seen_ids = seen_classes(self._unseen, vocabulary, name)
            words = self.inputs.dataset_words(name) or vocabulary
            self._training_words[name] = len(vocabulary), seen_ids, words.subset(seen_ids)
        classes = {self._training_words[name] for name in names}
        if len(classes) > 1:
            raise ValueError(
                f"training images are of {sorted(names)}, whose classes differ; train on datasets "
                "of the same classes"
            )
        return classes.pop()


def training_options(cfg: CfgNode) -> dict[str, Any]:
    """Return the adapter's arguments about labels from a config."""
    return {
        "leave_out_ignored": cfg.MODEL.OVSEG.MASKFORMER.LEAVE_OUT_IGNORED,
        "unseen": tuple(cfg.INPUT.SEMANTIC.UNSEEN),
        "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
    }


def seen_classes(unseen: Sequence[str], vocabulary: Vocabulary, dataset: str) -> tuple[int, ...]:
    """Return the classes of a dataset that are trained on.

    Arguments and errors are those of `unseen_classes`.
    """
    left_out = unseen_classes(unseen, vocabulary, dataset)
    return tuple(i for i in range(len(vocabulary)) if i not in left_out)
