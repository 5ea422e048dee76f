"""MaskCLIP+: what MaskCLIP sees teaches a network that was made for segmentation.

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
    """What one step was trained on, as shares of all pixels of this rank's batch.

    Attributes:
        labelled: 0-dim, given labels.
        pseudo: 0-dim, pseudo-labels.
        self_training: whether these were the student's own.
    """

    labelled: Tensor
    pseudo: Tensor
    self_training: bool

    def numbers(self) -> dict[str, float]:
        """The same for logs: waits for the device."""
        return {
            "labelled": self.labelled.item(),
            "pseudo_labelled": self.pseudo.item(),
            "self_training": float(self.self_training),
        }


class MaskCLIPPlus(nn.Module):
    """Train a student on a frozen MaskCLIP's labels of the same augmented crop.

    Two settings. Annotation-free: no label of any class; the teacher labels every pixel that is not
    ignored with any class. Zero-shot: seen classes are labelled, and the teacher, or the student
    itself after a while, labels what is left with unseen classes alone.

    Paper: [maskclip] Sec. 3.3. The schedule, when the student's own labels take the teacher's
    place, is the caller's: zero-shot training does so after a tenth of it, annotation-free training
    never.
    Departs: the mean loss is over pixels that have a label; ``official`` divides by all of them.
    Without an ignore mask, annotation-free training labels every pixel; the release leaves out what
    the ground truth ignores, which ``labels`` of `UNLABELLED` and ignored pixels do here. The
    confidence cut is on probabilities, and of pseudo-labels alone; the release's is on cosines.

    Args:
        teacher: gives pseudo-labels, with its refinement; it is frozen. It sees crops as a whole.
        student: the network to be trained, with its classifier.
        setting: annotation_free or zero_shot.
        confidence: pseudo-labels less probable than this are ignored; None trusts all. With key
            smoothing it is the smoothed score.
        distill_features: in place of pseudo-labels, the student's features are to equal the
            teacher's, of unit norm, in L1.
        feature_weight: of that loss.
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
        """Put built parts together.

        Raises:
            ValueError: a teacher with windows, another setting, or a value out of its range.
        """
        super().__init__()
        if teacher.window is not None:
            raise ValueError(
                f"the teacher has windows of {teacher.window}, and is shown the student's crops as "
                "a whole; leave MODEL.MASKCLIP.WINDOW 0"
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
        """Give the losses of one batch; what it was trained on is kept in `statistics`.

        Args:
            images: (B, 3, H, W) RGB in 0..255, in whole strides of the student.
            texts: embeddings of all K classes, one row each; where background is learnt, the
                teacher labels no background class.
            labels: (B, H, W) int64: classes, `UNLABELLED` for what is to be filled in, or the
                ignore label. None: all of it is unlabelled. Annotation-free, the first are refused.
            unseen_ids: the classes without labels, in the zero-shot setting.
            self_training: the student's labels in place of the teacher's.

        Returns:
            ``loss_sem_seg``, and with ``distill_features`` ``loss_distill``, each 0-dim.

        Raises:
            ValueError: labels in the annotation-free setting, none in the other, or unlabelled
                pixels there without an unseen class, labels of an unseen class, of another size or
                that are none, unseen classes that are not among the K, an ignore label that is,
                images that are not whole strides, or a background to be learnt where no class, or
                each, means it.
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
        own = logits.detach() if self_training else None
        if self.distill_features:
            targets = labels.masked_fill(unlabelled, self.ignore)
            losses["loss_distill"] = self.feature_weight * self._feature_loss(feats, images, labels)
        elif bool(unlabelled.any()):
            chosen = self._classes_to_fill(texts, unseen_ids, self_training)
            targets = self._fill(labels, images, texts.embeds, own, chosen)
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
        """Best class of each pixel: the teacher's, or by the student's logits where they are given.

        Args:
            images: (B, 3, H, W) RGB in 0..255.
            text_embeds: (K, D) of the classes to choose of.
            logits: (B, K, h, w) of the same classes, on a grid that covers the images.

        Returns:
            (B, H, W) int64, and (B, H, W) how sure they are; None where nobody asks.
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
        confidences, found = probs.max(dim=1)
        return found, confidences

    def _fill(
        self,
        labels: Tensor,
        images: Tensor,
        text_embeds: Tensor,
        logits: Tensor | None,
        class_ids: Sequence[int],
    ) -> Tensor:
        """Labels (B, H, W) with pseudo-labels of some classes where they are unlabelled."""
        ids = torch.tensor(list(class_ids), device=labels.device)
        own = None if logits is None else logits[:, ids]
        found, confidences = self.pseudo_labels(images, text_embeds[ids], own)
        return fill_unlabelled(
            labels,
            ids[found],
            ignore=self.ignore,
            confidences=confidences,
            threshold=self.confidence or 0.0,
        )

    def _classes_to_fill(
        self, texts: ClassTexts, unseen_ids: Sequence[int], self_training: bool
    ) -> list[int]:
        if self.setting == "zero_shot":
            return sorted(set(unseen_ids))
        # There is no text to a learnt background that a teacher could look for.
        learnt = self.student.classifier.background is not None and not self_training
        left_out = set(texts.background_ids) if learnt else set()
        return [each for each in range(texts.num_classes) if each not in left_out]

    def _check_background(self, texts: ClassTexts) -> None:
        number, num_classes = len(set(texts.background_ids)), texts.num_classes
        if self.student.classifier.background is not None and not 0 < number < num_classes:
            raise ValueError(
                f"of {num_classes} classes {number} mean background, and its vector is to be "
                "learnt beside those of others; name some of them so (the word background), or set "
                "MODEL.MASKCLIP_PLUS.LEARN_BACKGROUND False"
            )

    def _feature_loss(self, feats: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Mean L1 distance of the features (B, D, h, w) to the teacher's, where labels count.

        Source: the official code: both are resized to pixels, and only the teacher's have unit
        norm. Departs: they are compared on the student's grid, of which a location counts as far
        as its pixels do; the full-size maps of D channels never exist.
        """
        with torch.no_grad():
            tower = self.teacher.tower
            target = tower.dense_feats(
                tower.normalize(images), self.teacher.last_block, official=self.teacher.official
            )
            target = F.normalize(target.float(), dim=1)
            size = images.shape[2], images.shape[3]
            patch_h, patch_w = tower.patch_size
            padded = target.shape[2] * patch_h, target.shape[3] * patch_w
            grid = feats.shape[2], feats.shape[3]
            if self.teacher.official or padded == size:
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
        """Labels (B, H, W), checked."""
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
                    "nothing of labels but what they ignore"
                )
            return labels
        if labels is None:
            raise ValueError(
                "labels is None, and the zero-shot setting needs those of the seen classes; set "
                "INPUT.TRAIN_MAPPER to semantic, or train annotation-free"
            )
        # Where nothing is left to fill in, all classes may be seen.
        lacking = not unseen_ids and bool((labels == UNLABELLED).any())
        if lacking or not all(0 <= each < num_classes for each in unseen_ids):
            raise ValueError(
                f"unseen_ids are {tuple(unseen_ids)}, of {num_classes} classes; the zero-shot "
                "setting is about some of them, see INPUT.SEMANTIC.UNSEEN"
            )
        check_labels(labels, num_classes, ignore=self.ignore, forbidden=unseen_ids)
        return labels
