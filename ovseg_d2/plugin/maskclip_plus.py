"""MaskCLIP+ as a meta-architecture: a frozen MaskCLIP labels the images its student trains on."""

from typing import Any

import torch
from torch import Tensor

from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..d2.utils.events import get_event_storage, has_event_storage
from ..nets import TextClassifier
from ..ops import UNLABELLED
from ..systems import MaskCLIP as MaskCLIPSystem
from ..systems import MaskCLIPPlus as MaskCLIPPlusSystem
from ..systems import TextSegmenter
from .clip_parts import build_tower
from .dense_head import build_dense_network
from .inputs import InputReader, build_inputs
from .label_training import LabelledTraining, check_labels_are_read, check_unseen
from .maskclip import maskclip_options
from .registered import build_backbone

__all__ = ["MaskCLIPPlus"]


def _check(cfg: CfgNode) -> None:
    """Refuse options that contradict each other, before anything is built.

    Raises:
        ValueError: self-training or a teacher's background without a use, labels that the mapper
            does not read, or unseen classes that a training set does not have.
    """
    options = cfg.MODEL.MASKCLIP_PLUS
    if options.TARGET == "features" and options.SELF_TRAINING == "on":
        raise ValueError(
            "MODEL.MASKCLIP_PLUS.SELF_TRAINING on is about labels, and TARGET features has none; "
            "set it to auto, or TARGET to labels"
        )
    if cfg.MODEL.MASKCLIP.BACKGROUND_THRESHOLD or cfg.MODEL.MASKCLIP.BACKGROUND_MIN_SHARE:
        raise ValueError(
            "MODEL.MASKCLIP.BACKGROUND_THRESHOLD and _MIN_SHARE find background in "
            "segmentations, and MaskCLIP+ trains on its teacher's scores; set both to 0.0, and see "
            "MODEL.MASKCLIP_PLUS.CONFIDENCE"
        )
    check_unseen(cfg)
    if options.SETTING == "zero_shot":
        check_labels_are_read(cfg)
        if cfg.DATASETS.TRAIN and not cfg.INPUT.SEMANTIC.UNSEEN:
            raise ValueError(
                "INPUT.SEMANTIC.UNSEEN is empty, and the zero-shot setting is about classes "
                "without labels; name classes or class sets, or set MODEL.MASKCLIP_PLUS.SETTING to "
                "annotation_free"
            )


@META_ARCH_REGISTRY.register()
class MaskCLIPPlus(LabelledTraining):
    """Training of a segmentation network on a frozen MaskCLIP's labels (adapter of the system).

    In evaluation the student segments, with any classes. Checkpoints hold the teacher too, whose
    text half encodes them.
    """

    @configurable
    def __init__(
        self,
        *,
        system: MaskCLIPPlusSystem,
        inputs: InputReader,
        unseen: tuple[str, ...] = (),
        self_training_from: int | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        """Build the adapter of its parts.

        Args:
            system: the plain module.
            inputs: reads input dicts; its text bank is on the teacher's tower.
            unseen: classes and class sets that have no labels.
            self_training_from: the iteration at which the student's labels replace the teacher's;
                None for never.
            loss_weight: of the pixels' loss.
        """
        super().__init__(inputs, unseen=unseen)
        self.system = system
        self._self_training_from = self_training_from
        self._loss_weight = loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.MASKCLIP_PLUS``, what the network and :class:`MaskCLIP` read, and SOLVER.

        Raises:
            ValueError: options that contradict each other, unseen classes that a training set does
                not have, or a value that a part refuses.
        """
        _check(cfg)
        options = cfg.MODEL.MASKCLIP_PLUS
        tower = build_tower(cfg).requires_grad_(False)
        teacher = MaskCLIPSystem(tower, **maskclip_options(cfg, tower))
        network = build_dense_network(cfg, build_backbone(cfg), tower.embed_dim)
        classifier = TextClassifier(
            tower.embed_dim,
            learn_background=options.LEARN_BACKGROUND,
            logit_scale=options.LOGIT_SCALE or None,
        )
        system = MaskCLIPPlusSystem(
            teacher,
            TextSegmenter(network, classifier),
            setting=options.SETTING,
            confidence=options.CONFIDENCE or None,
            distill_features=options.TARGET == "features",
            feature_weight=options.FEATURE_WEIGHT,
            ignore=cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
            official=options.OFFICIAL,
        )
        return {
            "system": system,
            "unseen": tuple(cfg.INPUT.SEMANTIC.UNSEEN),
            "self_training_from": _self_training_from(cfg),
            "inputs": build_inputs(cfg, tower),
            "loss_weight": cfg.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT,
        }

    @property
    def scorer(self) -> TextSegmenter:
        """The student."""
        return self.system.student

    @property
    def self_training(self) -> bool:
        """Whether the current training step is one of self-training; False outside of training."""
        if self._self_training_from is None or not has_event_storage():
            return False
        return get_event_storage().iter >= self._self_training_from

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image`` (3, H, W) and ``sem_seg``, (H, W) int64 as
        :class:`~ovseg_d2.systems.MaskCLIPPlus` describes it, optional in the annotation-free
        setting.

        Raises:
            ValueError: inputs of several vocabularies, or the system's errors.
        """
        if not self.training:
            return super().forward(batched_inputs)
        annotation_free = self.system.setting == "annotation_free"
        if annotation_free:
            batched_inputs = [
                {"sem_seg": torch.full(sample["image"].shape[-2:], UNLABELLED), **sample}
                for sample in batched_inputs
            ]
        images, texts, labels, unseen_ids = self.training_batch(
            batched_inputs, self.system.student, self.system.ignore
        )
        losses = self.system(
            images,
            texts,
            labels,
            unseen_ids=() if annotation_free else unseen_ids,
            self_training=self.self_training,
        )
        if has_event_storage():
            for name, value in self.system.statistics.numbers().items():
                get_event_storage().put_scalar(f"maskclip_plus/{name}", value)
        losses["loss_sem_seg"] = self._loss_weight * losses["loss_sem_seg"]
        return losses


def _self_training_from(cfg: CfgNode) -> int | None:
    """The iteration at which self-training starts; None for never."""
    options = cfg.MODEL.MASKCLIP_PLUS
    share = options.SELF_TRAINING_START
    automatic = options.SELF_TRAINING == "auto" and options.SETTING == "zero_shot"
    if not (automatic or options.SELF_TRAINING == "on") or options.TARGET == "features":
        return None
    # At least one step of the teacher's comes first: the student starts from random weights.
    return max(round(share * cfg.SOLVER.MAX_ITER), 1) if share else 0
