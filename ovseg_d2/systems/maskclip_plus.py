"""MaskCLIPPlus: a segmentation network trained on MaskCLIP's labels.

images -> student network -> logits; where labels are missing: frozen MaskCLIP (or the student
itself) -> pseudo-labels, of all classes or of the unseen ones; logits and labels -> cross entropy.

Source: [maskclip] arXiv 2112.01071, Sec. 3.3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_d2.losses import pixel_cross_entropy_loss
from ovseg_d2.ops import (
    UNLABELLED,
    check_ignore,
    check_labels,
    dense_argmax,
    fill_unlabelled,
    upsample_scores,
)
from ovseg_d2.text import ClassTexts

from .maskclip import MaskCLIP
from .text_segmenter import TextSegmenter

__all__ = ["MaskCLIPPlus", "MaskCLIPPlusStatistics", "Setting"]

Setting = Literal["annotation_free", "zero_shot"]


@dataclass(frozen=True, eq=False)
class MaskCLIPPlusStatistics:
    """The labels of one step, as shares of all pixels of this rank's batch.

    Attributes:
        labelled: 0-dim, share of given labels.
        pseudo: 0-dim, share of pseudo-labels.
        self_training: whether the student made the pseudo-labels.
    """

    labelled: Tensor
    pseudo: Tensor
    self_training: bool

    def numbers(self) -> dict[str, float]:
        """Floats for logs; waits for the device."""
        return {
            "labelled": self.labelled.item(),
            "pseudo_labelled": self.pseudo.item(),
            "self_training": float(self.self_training),
        }


class MaskCLIPPlus(nn.Module):
    """Train a student on a frozen MaskCLIP's labels of the same augmented crop.

    Two settings. Annotation-free: there are no labels; the teacher labels every pixel that is not
    ignored with any class. Zero-shot: seen classes are labelled; the teacher, or later the student
    itself, labels the other pixels with unseen classes.

    Paper: [maskclip] Sec. 3.3. The caller decides when the student's labels replace the teacher's:
    zero-shot training after a tenth of its steps, annotation-free training never.
    Departs: the mean loss is over pixels that have a label; ``official`` divides by all of them.
    Without an ignore mask, annotation-free training labels every pixel; the release leaves out
    pixels that the ground truth ignores, as ``labels`` of `UNLABELLED` and ignored pixels do here.
    The confidence threshold is on probabilities of pseudo-labels; the release's is on cosines.

    Args:
        teacher: makes pseudo-labels, with its refinement and without windows or shifts; it is
            frozen.
        student: the network to train, with its classifier.
        setting: annotation_free or zero_shot.
        confidence: pseudo-labels of a lower probability are ignored; None keeps all. With key
            smoothing it is the smoothed score.
        distill_features: replace pseudo-labels by the L1 distance of the student's features to the
            teacher's, which have unit norm.
        feature_weight: weight of that loss.
        ignore: label of pixels that do not count.
        official: the loss is divided as in the release.
    """

    def __init__(
        self,
        teacher: MaskCLIP,
        student: TextSegmenter,
        *,
        setting: Setting = "annotation_free",
        confidence: float | None = None,
        distill_features: bool = False,
        feature_weight: float = 1.0,
        ignore: int = 255,
        official: bool = False,
    ) -> None:
        """Check the options and freeze the teacher.

        Raises:
            ValueError: a teacher with windows, shifts or independent words, an unknown setting, or
                a value out of its range.
        """
        super().__init__()
        if teacher.window is not None:
            raise ValueError(
                f"the teacher has windows of {teacher.window}, and the student's crops are not "
                "split; leave MODEL.MASKCLIP.WINDOW 0"
            )
        if teacher.shifts != 1:
            raise ValueError(
                f"the teacher has shifts={teacher.shifts}, and the student's crops are scored in "
                "one pass; leave MODEL.MASKCLIP.SHIFTS 1"
            )
        if teacher.independent:
            raise ValueError(
                "the teacher's labels come from words that compete, and its words are independent; "
                "leave MODEL.MASKCLIP.INDEPENDENT False"
            )
        if setting not in get_args(Setting):
            raise ValueError(f"setting is {setting!r}; choose one of {get_args(Setting)}")
        if confidence is not None and not 0 <= confidence <= 1:
            raise ValueError(f"confidence is {confidence}; it is a probability, give one in [0, 1]")
        if not feature_weight >= 0:
            raise ValueError(f"feature_weight is {feature_weight}; give 0 or more")
        self.teacher = teacher.requires_grad_(False)
        self.student = student
        self.setting: Setting = setting
        self.confidence = confidence
        self.distill_features = distill_features
        self.feature_weight = feature_weight
        self.ignore = ignore
        self.official = official
        self.statistics: MaskCLIPPlusStatistics | None = None
        self.train()

    def train(self, mode: bool = True) -> MaskCLIPPlus:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self,
        images: Tensor,
        texts: ClassTexts,
        labels: Tensor | None = None,
        *,
        unseen_ids: Sequence[int] = (),
        self_training: bool = False,
    ) -> dict[str, Tensor]:
        """Losses of one batch; `statistics` then describes its labels.

        Args:
            images: (B, 3, H, W) RGB in 0..255, in whole strides of the student.
            texts: embeddings of all K classes, one row each; if the student learns a background,
                the teacher labels no background class.
            labels: (B, H, W) int64: classes (zero-shot only), `UNLABELLED` for pixels that get a
                pseudo-label, or the ignore label. None: all pixels are unlabelled.
            unseen_ids: the classes without labels, in the zero-shot setting.
            self_training: take the student's labels instead of the teacher's.

        Returns:
            ``loss_sem_seg``, and with ``distill_features`` ``loss_distill``, each 0-dim.

        Raises:
            ValueError: classes in annotation-free labels; in the zero-shot setting no labels, or
                unlabelled pixels without an unseen class; labels of an unseen class, of another
                size or outside of 0..K-1; unseen classes outside of 0..K-1; an ignore label inside;
                images that are not whole strides; or a learnt background and no class, or only
                classes, that mean background.
        """
        size = images.shape[2], images.shape[3]
        self.student.check_size(size)
        check_ignore(self.ignore, texts.num_classes)
        self._check_background(texts)
        labels = self._read_labels(images, labels, texts.num_classes, unseen_ids)
        feats = self.student.network(images)
        logits = self.student.classifier(feats, texts.embeds, texts.background_ids)
        losses: dict[str, Tensor] = {}
        unlabelled = labels == UNLABELLED
        targets = labels
        student_logits = logits.detach() if self_training else None
        if self.distill_features:
            targets = labels.masked_fill(unlabelled, self.ignore)
            losses["loss_distill"] = self.feature_weight * self._feature_loss(feats, images, labels)
        elif bool(unlabelled.any()):
            class_ids = self._classes_to_fill(texts, unseen_ids, self_training)
            targets = self._fill(labels, images, texts.embeds, student_logits, class_ids)
        losses["loss_sem_seg"] = pixel_cross_entropy_loss(
            logits, targets, ignore=self.ignore, over_all=self.official
        )
        counted = targets != self.ignore
        self.statistics = MaskCLIPPlusStatistics(
            (counted & ~unlabelled).double().mean(),
            (counted & unlabelled).double().mean(),
            self_training,
        )
        return losses

    @torch.no_grad()
    def pseudo_labels(
        self, images: Tensor, text_embeds: Tensor, logits: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Best class of each pixel, by the teacher or by the student's logits.

        Args:
            images: (B, 3, H, W) RGB in 0..255.
            text_embeds: (K, D) of the candidate classes.
            logits: (B, K, h, w) of the same classes, on a grid that covers the images; None takes
                the teacher's.

        Returns:
            (B, H, W) int64, and (B, H, W) their confidence, or None if `confidence` is None.
        """
        size = images.shape[2], images.shape[3]
        padded, scale = size, 1.0
        smoothed = False
        if logits is None:
            logits = self.teacher.score_patches(images, text_embeds)
            smoothed = self.teacher.refine.key_smoothing is not None
            scale = float(self.teacher.scale)
            if not self.teacher.official:
                patch_h, patch_w = self.teacher.tower.patch_size
                padded = logits.shape[2] * patch_h, logits.shape[3] * patch_w
        if self.confidence is None:
            return dense_argmax(logits, size, crop=padded), None
        scores = upsample_scores(logits, padded, size)
        probs = scores if smoothed else (scores * scale).softmax(dim=1)
        confidences, labels = probs.max(dim=1)
        return labels, confidences

    def _fill(
        self,
        labels: Tensor,
        images: Tensor,
        text_embeds: Tensor,
        logits: Tensor | None,
        class_ids: Sequence[int],
    ) -> Tensor:
        """Labels (B, H, W) whose unlabelled pixels have pseudo-labels of ``class_ids``."""
        ids = torch.tensor(list(class_ids), device=labels.device)
        logits = None if logits is None else logits[:, ids]
        indices, confidences = self.pseudo_labels(images, text_embeds[ids], logits)
        return fill_unlabelled(
            labels,
            ids[indices],
            ignore=self.ignore,
            confidences=confidences,
            threshold=self.confidence or 0.0,
        )

    def _classes_to_fill(
        self, texts: ClassTexts, unseen_ids: Sequence[int], self_training: bool
    ) -> list[int]:
        if self.setting == "zero_shot":
            return sorted(set(unseen_ids))
        # A learnt background has no text that the teacher could compare with.
        learnt = self.student.classifier.background is not None and not self_training
        left_out = set(texts.background_ids) if learnt else set()
        return sorted(set(range(texts.num_classes)) - left_out)

    def _check_background(self, texts: ClassTexts) -> None:
        number, num_classes = len(set(texts.background_ids)), texts.num_classes
        if self.student.classifier.background is not None and not 0 < number < num_classes:
            raise ValueError(
                f"of {num_classes} classes {number} mean background, and a learnt background needs "
                "at least one and another class beside it; add the class background, or set "
                "MODEL.MASKCLIP_PLUS.LEARN_BACKGROUND False"
            )

    def _feature_loss(self, feats: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Mean L1 distance of the features (B, D, h, w) to the teacher's, where labels count.

        Source: the official code: both are resized to pixels, and only the teacher's have unit
        norm. Departs: they are compared on the student's grid, a location weighted by the share of
        its pixels that count, without full-size maps of D channels.
        """
        with torch.no_grad():
            target = F.normalize(self.teacher.dense_feats(images).float(), dim=1)
            size = images.shape[2], images.shape[3]
            padded = self.teacher.covered_size(size)
            grid = feats.shape[2], feats.shape[3]
            if padded == size:
                target = F.interpolate(target, grid, mode="bilinear", align_corners=False)
            else:
                target = upsample_scores(target, padded, size, grid)
            counted = (labels != self.ignore).to(feats.dtype)[:, None]
            weights = F.adaptive_avg_pool2d(counted, grid)
        distances = (feats - target).abs().mean(dim=1, keepdim=True)
        return (distances * weights).sum() / weights.sum().clamp(min=1)

    def _read_labels(
        self, images: Tensor, labels: Tensor | None, num_classes: int, unseen_ids: Sequence[int]
    ) -> Tensor:
        """Check the labels and return them, (B, H, W)."""
        shape = (images.shape[0], *images.shape[2:])
        if labels is not None and tuple(labels.shape) != shape:
            raise ValueError(f"labels have shape {tuple(labels.shape)}; give {shape}")
        if self.setting == "annotation_free":
            if labels is None:
                return torch.full(shape, UNLABELLED, device=images.device)
            if bool(((labels != UNLABELLED) & (labels != self.ignore)).any()):
                raise ValueError(
                    "labels hold classes, and annotation-free training takes none; set "
                    "INPUT.TRAIN_MAPPER to pictures, or INPUT.SEMANTIC.ONLY_IGNORED True to keep "
                    "only the ignored pixels"
                )
            return labels
        if labels is None:
            raise ValueError(
                "labels is None, and the zero-shot setting needs those of the seen classes; set "
                "INPUT.TRAIN_MAPPER to semantic, or train annotation-free"
            )
        # Without unlabelled pixels all classes may be seen.
        lacking = not unseen_ids and bool((labels == UNLABELLED).any())
        if lacking or not all(0 <= class_id < num_classes for class_id in unseen_ids):
            raise ValueError(
                f"unseen_ids are {tuple(unseen_ids)}, of {num_classes} classes; the zero-shot "
                "setting needs at least one of them, see INPUT.SEMANTIC.UNSEEN"
            )
        check_labels(labels, num_classes, ignore=self.ignore, forbidden=unseen_ids)
        return labels
