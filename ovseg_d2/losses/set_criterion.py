"""The loss of a set of proposals: each object has one that answers for it, the others for none.

Shape shorthand: B images, Q proposals, N objects of an image, K classes, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .mask_losses import dice_loss, focal_loss

__all__ = ["Match", "Matcher", "SetCriterion"]

# Proposals and the objects they answer for, both (M,) int64; M is the smaller of Q and N.
Match = tuple[Tensor, Tensor]


class Matcher(Protocol):
    """Says which proposal answers for which object."""

    def __call__(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        gt_ids: Sequence[Tensor],
        gt_masks: Sequence[Tensor],
        ignored: Sequence[Tensor] | None = None,
    ) -> list[Match]:
        """Match each image of a batch; arguments as for `SetCriterion`."""
        ...


class SetCriterion(nn.Module):
    """Cross entropy of classes, focal and dice loss of masks, after matching.

    Paper: [maskformer] Sec. 3.2 and 3.3: a proposal without an object is to have the class "no
    object", at a low weight; masks count only of proposals with one. Every layer of the decoder is
    matched and judged by itself (deep supervision).
    Departs: with several ranks, sums are divided by what all of them have, so that the mean over
    ranks, which DDP takes, is the loss of the joined batch. The release averages cross entropy
    within each rank.

    Args:
        matcher: who answers for which object.
        no_object_weight: of "no object" in the cross entropy, from 0; with 0, proposals without an
            object have no class to learn.
        class_weight: of the cross entropy.
        mask_weight: of the focal loss.
        dice_weight: of the dice loss.
    """

    def __init__(
        self,
        *,
        matcher: Matcher,
        no_object_weight: float = 0.1,
        class_weight: float = 1.0,
        mask_weight: float = 20.0,
        dice_weight: float = 1.0,
    ) -> None:
        """Keep the parts.

        Raises:
            ValueError: a negative weight.
        """
        super().__init__()
        weights = (no_object_weight, class_weight, mask_weight, dice_weight)
        if min(weights) < 0:
            raise ValueError(
                "no_object_weight, class_weight, mask_weight and dice_weight are "
                f"{', '.join(map(str, weights))}; give numbers of at least 0"
            )
        self.matcher = matcher
        self.no_object_weight = no_object_weight
        self.class_weight = class_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight

    def forward(
        self,
        predictions: Sequence[tuple[Tensor, Tensor]],
        gt_ids: Sequence[Tensor],
        gt_masks: Sequence[Tensor],
        ignored: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Loss of one batch; all ranks must call it together.

        Args:
            predictions: of each layer, the last one last: class logits (B, Q, K+1), the last
                column being "no object", and mask logits (B, Q, h, w).
            gt_ids: for each image (N,) int64, classes 0..K-1; N may be 0, and larger than Q.
            gt_masks: for each image (N, H, W) bool. Masks of different sizes are padded to the
                largest at the bottom and right, which predictions cover; they are matched as they
                are, so give them one size where that is to agree.
            ignored: for each image (H, W) bool, pixels of which masks may say what they like:
                neither matching nor losses look there. None: every pixel counts.

        Returns:
            ``loss_ce``, ``loss_mask`` and ``loss_dice`` of the last layer, weighted, 0-dim float32;
            of earlier layers the same with ``_0``, ``_1``, ... behind. Without any object masks
            have losses of 0, and their gradients are zeros.

        Raises:
            ValueError: ids and masks that do not fit each other, the images or the classes.
        """
        class_logits, mask_logits = predictions[-1]
        num_classes = class_logits.shape[2] - 1
        _check(class_logits, gt_ids, gt_masks, num_classes)
        _check_ignored(gt_masks, ignored)
        padded = _pad(gt_masks)
        left_out = None if ignored is None else _pad([each[None] for each in ignored])
        num_objects, class_total = self._totals(class_logits, gt_ids)
        losses = {}
        for number, (class_logits, mask_logits) in enumerate(predictions):
            last = number == len(predictions) - 1
            suffix = "" if last else f"_{number}"
            # Rounding must not decide who answers for what, nor sums over many pixels lose them.
            with torch.autocast(class_logits.device.type, enabled=False):
                asked = (gt_ids, gt_masks) if ignored is None else (gt_ids, gt_masks, ignored)
                matches = self.matcher(class_logits, mask_logits, *asked)
                loss_ce = self._class_loss(class_logits, gt_ids, matches) / class_total
                logits, truth = _matched_masks(mask_logits, padded, matches)
                counted = None if left_out is None else _counted(left_out, matches).to(truth.device)
                loss_mask = focal_loss(logits, truth, counted).sum() / num_objects
                loss_dice = dice_loss(logits, truth, counted).sum() / num_objects
            losses[f"loss_ce{suffix}"] = self.class_weight * loss_ce
            losses[f"loss_mask{suffix}"] = self.mask_weight * loss_mask
            losses[f"loss_dice{suffix}"] = self.dice_weight * loss_dice
        return losses

    def _totals(self, class_logits: Tensor, gt_ids: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Objects, and weights of the cross entropy, of a rank on average; never quite 0."""
        batch, num_queries, _ = class_logits.shape
        matched = sum(min(len(ids), num_queries) for ids in gt_ids)
        weight = matched + self.no_object_weight * (batch * num_queries - matched)
        totals = class_logits.new_tensor([sum(map(len, gt_ids)), weight], dtype=torch.float32)
        world = 1
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(totals)
            world = dist.get_world_size()
        # Where a total is 0 so is what is divided by it.
        num_objects, class_total = torch.where(totals > 0, totals, 1) / world
        return num_objects, class_total

    def _class_loss(
        self, class_logits: Tensor, gt_ids: Sequence[Tensor], matches: Sequence[Match]
    ) -> Tensor:
        """Weighted sum of the cross entropies of all proposals."""
        no_object = class_logits.shape[2] - 1
        wanted = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
        for row, ids, (queries, objects) in zip(wanted, gt_ids, matches, strict=True):
            row[queries] = ids.to(row)[objects]
        weights = torch.ones(no_object + 1, device=class_logits.device)
        weights[no_object] = self.no_object_weight
        return F.cross_entropy(
            class_logits.float().transpose(1, 2), wanted, weights, reduction="sum"
        )


def _matched_masks(
    mask_logits: Tensor, gt_masks: Sequence[Tensor], matches: Sequence[Match]
) -> tuple[Tensor, Tensor]:
    """Logits and masks (M, H*W) of all pairs of the batch, at the masks' size."""
    size = gt_masks[0].shape[1:]
    logits = torch.cat(
        [each[queries] for each, (queries, _) in zip(mask_logits, matches, strict=True)]
    )
    logits = F.interpolate(logits.float()[:, None], size, mode="bilinear", align_corners=False)
    truth = torch.cat(
        [
            each.to(mask_logits.device)[objects]
            for each, (_, objects) in zip(gt_masks, matches, strict=True)
        ]
    )
    return logits.flatten(1), truth.flatten(1)


def _counted(ignored: Sequence[Tensor], matches: Sequence[Match]) -> Tensor:
    """(M, H*W) bool, the pixels that count for each pair of the batch."""
    pairs = zip(ignored, matches, strict=True)
    return ~torch.cat([each.flatten(1).expand(len(queries), -1) for each, (queries, _) in pairs])


def _pad(gt_masks: Sequence[Tensor]) -> list[Tensor]:
    """Masks (N, H, W) of each image with zeros at the bottom and right, all of one size."""
    height = max(each.shape[1] for each in gt_masks)
    width = max(each.shape[2] for each in gt_masks)
    return [F.pad(each, (0, width - each.shape[2], 0, height - each.shape[1])) for each in gt_masks]


def _check(
    class_logits: Tensor, gt_ids: Sequence[Tensor], gt_masks: Sequence[Tensor], num_classes: int
) -> None:
    if not len(class_logits) == len(gt_ids) == len(gt_masks):
        raise ValueError(
            f"{len(gt_ids)} gt_ids and {len(gt_masks)} gt_masks for {len(class_logits)} images; "
            "give a tensor of each for every image, empty where it has no object"
        )
    for ids, masks in zip(gt_ids, gt_masks, strict=True):
        if ids.dim() != 1 or masks.dim() != 3 or len(ids) != len(masks) or 0 in masks.shape[1:]:
            raise ValueError(
                f"gt_ids {tuple(ids.shape)} and gt_masks {tuple(masks.shape)} of an image; give "
                "(N,) and (N, H, W)"
            )
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
            raise ValueError(
                f"gt_ids hold {sorted(set(ids.tolist()))}, and there are {num_classes} classes; "
                f"give ids of 0..{num_classes - 1}, and leave ignored regions out"
            )


def _check_ignored(gt_masks: Sequence[Tensor], ignored: Sequence[Tensor] | None) -> None:
    sizes = [tuple(each.shape[1:]) for each in gt_masks]
    found = sizes if ignored is None else [tuple(each.shape) for each in ignored]
    if found != sizes:
        raise ValueError(
            f"ignored pixels are of {found}, and masks of {sizes}; give (H, W) of its masks' size "
            "for each image"
        )
