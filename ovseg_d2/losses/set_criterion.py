"""`SetCriterion`: the loss of a set of proposals that are matched to objects.

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

# Indices of matched proposals and objects, both (M,) int64; M is the smaller of Q and N.
Match = tuple[Tensor, Tensor]


class Matcher(Protocol):
    """Assigns one proposal to each object."""

    def __call__(
        self,
        class_logits: Tensor,
        mask_logits: Tensor,
        gt_ids: Sequence[Tensor],
        gt_masks: Sequence[Tensor],
        ignored: Sequence[Tensor] | None = None,
    ) -> list[Match]:
        """Match each image of a batch; arguments are those of `SetCriterion.forward`."""
        ...


class SetCriterion(nn.Module):
    """Cross entropy of classes, focal and dice loss of masks, after matching.

    Paper: [maskformer] Sec. 3.2 and 3.3: the target of a proposal without an object is the class
    "no object", at a low weight; only masks of matched proposals count. Every layer of the decoder
    has its own matching and losses (deep supervision).
    Departs: sums are divided by totals of all ranks, so that the mean over ranks, which DDP takes,
    is the loss of the joined batch. The release averages cross entropy within each rank.

    Args:
        matcher: assigns proposals to objects.
        no_object_weight: weight of "no object" in the cross entropy, at least 0; with 0, proposals
            without an object have no class loss.
        class_weight: weight of the cross entropy.
        mask_weight: weight of the focal loss.
        dice_weight: weight of the dice loss.
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
        """Refuse a negative weight with a ValueError."""
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
            predictions: for each layer, in order: class logits (B, Q, K+1), the last column being
                "no object", and mask logits (B, Q, h, w).
            gt_ids: for each image (N,) int64, classes 0..K-1; N may be 0, and larger than Q.
            gt_masks: for each image (N, H, W) bool. For the losses, masks of different sizes are
                padded at the bottom and right to the largest, which predictions cover; matching
                takes them unpadded, so give masks of one size.
            ignored: for each image (H, W) bool, pixels left out of matching and losses; None
                counts every pixel.

        Returns:
            ``loss_ce``, ``loss_mask`` and ``loss_dice`` of the last layer, weighted, 0-dim float32;
            those of earlier layers have the suffixes ``_0``, ``_1``, ... Without any object mask
            losses are 0 with zero gradients.

        Raises:
            ValueError: ids and masks that do not fit each other, the images or the classes.
        """
        class_logits, mask_logits = predictions[-1]
        num_classes = class_logits.shape[2] - 1
        _check(class_logits, gt_ids, gt_masks, num_classes)
        _check_ignored(gt_masks, ignored)
        padded = _pad(gt_masks)
        left_out = None if ignored is None else _pad([pixels[None] for pixels in ignored])
        num_objects, class_total = self._totals(class_logits, gt_ids)
        losses = {}
        for number, (class_logits, mask_logits) in enumerate(predictions):
            last = number == len(predictions) - 1
            suffix = "" if last else f"_{number}"
            # Half precision would change matches and lose terms of sums over many pixels.
            with torch.autocast(class_logits.device.type, enabled=False):
                objects = (gt_ids, gt_masks) if ignored is None else (gt_ids, gt_masks, ignored)
                matches = self.matcher(class_logits, mask_logits, *objects)
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
        """Number of objects and sum of class weights, averaged over ranks; never 0."""
        batch, num_queries, _ = class_logits.shape
        matched = sum(min(len(ids), num_queries) for ids in gt_ids)
        weight = matched + self.no_object_weight * (batch * num_queries - matched)
        totals = class_logits.new_tensor([sum(map(len, gt_ids)), weight], dtype=torch.float32)
        world = 1
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(totals)
            world = dist.get_world_size()
        # A total is 0 only if the sum that it divides is 0.
        num_objects, class_total = torch.where(totals > 0, totals, 1) / world
        return num_objects, class_total

    def _class_loss(
        self, class_logits: Tensor, gt_ids: Sequence[Tensor], matches: Sequence[Match]
    ) -> Tensor:
        """Weighted sum of the cross entropies of all proposals."""
        no_object = class_logits.shape[2] - 1
        targets = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
        for row, ids, (queries, objects) in zip(targets, gt_ids, matches, strict=True):
            row[queries] = ids.to(row)[objects]
        weights = torch.ones(no_object + 1, device=class_logits.device)
        weights[no_object] = self.no_object_weight
        return F.cross_entropy(
            class_logits.float().transpose(1, 2), targets, weights, reduction="sum"
        )


def _matched_masks(
    mask_logits: Tensor, gt_masks: Sequence[Tensor], matches: Sequence[Match]
) -> tuple[Tensor, Tensor]:
    """Logits and masks (M, H*W) of the batch's matched pairs, at the masks' size."""
    size, device = gt_masks[0].shape[1:], mask_logits.device
    images = list(zip(mask_logits, gt_masks, matches, strict=True))
    logits = torch.cat([image_logits[queries] for image_logits, _, (queries, _) in images])
    logits = F.interpolate(logits.float()[:, None], size, mode="bilinear", align_corners=False)
    truth = torch.cat([masks.to(device)[objects] for _, masks, (_, objects) in images])
    return logits.flatten(1), truth.flatten(1)


def _counted(ignored: Sequence[Tensor], matches: Sequence[Match]) -> Tensor:
    """(M, H*W) bool, the pixels that count for the batch's matched pairs."""
    images = zip(ignored, matches, strict=True)
    return ~torch.cat([pixels.flatten(1).expand(len(ids), -1) for pixels, (ids, _) in images])


def _pad(gt_masks: Sequence[Tensor]) -> list[Tensor]:
    """Pad the masks (N, H, W) of all images with zeros at the bottom and right to one size."""
    height = max(masks.shape[1] for masks in gt_masks)
    width = max(masks.shape[2] for masks in gt_masks)
    return [F.pad(m, (0, width - m.shape[2], 0, height - m.shape[1])) for m in gt_masks]


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
    sizes = [tuple(masks.shape[1:]) for masks in gt_masks]
    ignored_sizes = sizes if ignored is None else [tuple(pixels.shape) for pixels in ignored]
    if ignored_sizes != sizes:
        raise ValueError(
            f"ignored pixels are of {ignored_sizes}, and masks of {sizes}; give (H, W) of its "
            "masks' size for each image"
        )
