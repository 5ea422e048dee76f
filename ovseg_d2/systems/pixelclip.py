"""PixelCLIP: CLIP's image encoder fine-tuned from masks without labels.

weak view -> EMA teacher -> features f_M pooled in the masks -> Sinkhorn with clusters f_C
-> masks of a cluster united to its target; strong view -> student -> cosines with f_C
-> decoder -> mask logits; logits and targets -> binary cross entropy.

Source: [pixelclip] arXiv 2409.19846.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ovseg_d2.clip import CLIPTower, LastBlock
from ovseg_d2.losses import masked_bce_loss
from ovseg_d2.nets import FeatureQueue, PixelCLIPDecoder
from ovseg_d2.ops import (
    Assignment,
    assign_clusters,
    gather_rows,
    location_weights,
    merge_masks,
    pool_masks,
    resize_masks,
    update_ema,
)
from ovseg_d2.text import ClassPrompts, ClusterVectors

from .pixelclip_inference import PixelCLIPInference, official_feats, resize_images

__all__ = ["PixelCLIP", "PixelCLIPStatistics", "cluster_logits"]

Size = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PixelCLIPStatistics:
    """Statistics of one step, without gradient.

    Attributes:
        loss: 0-dim, of this rank.
        image_ids: (M,) int64, the image of each mask of this rank.
        assignment: of these masks, with the counts of all ranks; None without clustering.
    """

    loss: Tensor
    image_ids: Tensor
    assignment: Assignment | None

    def numbers(self) -> dict[str, float]:
        """Floats for logs; waits for the device."""
        numbers = {"loss_mask": self.loss.item(), "masks": float(len(self.image_ids))}
        if self.assignment is not None:
            numbers["clusters_in_use"] = float((self.assignment.counts > 0).sum())
            numbers["assignment_entropy"] = self.assignment.entropy.item()
        return numbers


class PixelCLIP(nn.Module):
    """Train a tower's image half from images and unlabelled masks.

    Clusters f_C are learnable prompts through the frozen text half; Sinkhorn assigns the masks of
    all ranks to them.

    Paper: [pixelclip] Sec. 3.
    Departs: an image or a batch without masks has a loss of 0 and zero gradients (the release
    fails). Batch norms keep their statistics. Mask features are pooled without resizing the
    features (see `location_weights`), with the same result.

    The ablations of the paper: no clustering is ``clusters=None``, where the similarity of the
    image with each f_M is decoded and the mask itself is the target; clusters without the text
    encoder and fixed names are `ClusterVectors`; names that are not learnt, bare prompts, k, l and
    several templates are arguments of `ClassPrompts`; with ``momentum=0`` there is no teacher, and
    the student computes f_M.

    Args:
        tower: the CLIP; `ovseg_d2.clip.set_trainable` selects the trained weights.
        clusters: computes f_C; None trains without clustering.
        decoder: similarity maps -> masks; not used in inference.
        last_block: of the image half, in training and inference; None is the paper's, the class
            token's residual for a ViT and the default for other towers.
        momentum: of the teacher, 0 for none.
        epsilon: of `assign_clusters`, for cosines; the paper has 0.01 for a ViT, 1 for a ConvNeXt.
        num_iters: of `assign_clusters`.
        queue_size: number of masks of earlier batches, of all ranks, that join the assignment; 0
            for none, as in the paper, whose batches have thousands of masks.
        mask_size: (h, w) in pixels of masks and logits.
        image_size: (h, w) in pixels at which images are encoded, whole patches, independent of the
            aspect ratio; None keeps their size.
        official: Sinkhorn's start and the inference are the release's, and so is what happens to
            images that are not whole patches, see `official_feats`.
    """

    teacher: nn.Module | None

    def __init__(
        self,
        tower: CLIPTower,
        *,
        clusters: ClassPrompts | ClusterVectors | None,
        decoder: PixelCLIPDecoder,
        last_block: LastBlock | None = None,
        momentum: float = 0.999,
        epsilon: float = 0.01,
        num_iters: int = 3,
        queue_size: int = 0,
        mask_size: Size = (256, 256),
        image_size: Size | None = None,
        official: bool = False,
    ) -> None:
        """Check the numbers; the teacher starts as a copy of the image half.

        Raises:
            ValueError: a momentum outside of [0, 1), or an image size that is not whole patches
                without ``official``.
        """
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; give a number from 0 to below 1")
        self.tower = tower
        self.clusters = clusters
        self.decoder = decoder
        if last_block is None:
            is_vit = isinstance(tower.model.visual, VisionTransformer)
            last_block = LastBlock(residual="class_token") if is_vit else LastBlock()
        self.last_block = last_block
        self.momentum = momentum
        self.epsilon, self.num_iters = epsilon, num_iters
        self.queue = FeatureQueue(queue_size, tower.embed_dim) if queue_size else None
        self.mask_size, self.image_size = mask_size, image_size
        self.official = official
        self.statistics: PixelCLIPStatistics | None = None
        if image_size is not None:
            self._check_image_size(image_size)
        self.teacher = None
        if momentum > 0:
            self.teacher = copy.deepcopy(tower.model.visual).requires_grad_(False)
            self.register_load_state_dict_pre_hook(_start_teacher)
        self.train()

    def train(self, mode: bool = True) -> PixelCLIP:
        """Set the mode; teacher and batch norms stay in evaluation mode."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        for module in self.tower.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def inference(self, **options: Any) -> PixelCLIPInference:
        """Return a MaskCLIP that shares the student's weights; ``options`` go to MaskCLIP."""
        options = {"last_block": self.last_block, "image_size": self.image_size} | options
        return PixelCLIPInference(self.tower, official=self.official, **options)

    def forward(
        self, images: Tensor, masks: Sequence[Tensor], strong_images: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Loss of one batch; updates the teacher first in training mode, and `statistics`.

        Args:
            images: (B, 3, H, W) RGB in 0..255, the teacher's weak view.
            masks: for each image (N_i, H, W) bool, unlabelled; N_i may be 0.
            strong_images: (B, 3, H, W), the student's strong view; None is ``images``.

        Returns:
            ``loss_mask``, 0-dim.

        Raises:
            ValueError: masks of another number or size than the images, views of different shapes,
                or, without ``official``, images that are not whole patches.
        """
        strong_images = images if strong_images is None else strong_images
        self._check_batch(images, masks, strong_images)
        if self.training and self.teacher is not None:
            update_ema(self.teacher, self.tower.model.visual, self.momentum)
        student_feats = self._dense_feats(strong_images)
        with torch.no_grad():
            teacher_feats = self._dense_feats(images, self.teacher)
        resized = [resize_masks(image_masks, self.mask_size)[0] for image_masks in masks]
        counts = torch.tensor([len(image_masks) for image_masks in resized])
        image_ids = torch.arange(len(resized)).repeat_interleave(counts).to(images.device)
        all_masks = torch.cat(resized)
        mask_feats = self.pool(teacher_feats, all_masks, image_ids)
        assignment = None
        if self.clusters is None:
            loss = self.mask_loss(student_feats, mask_feats, all_masks, image_ids)
        else:
            cluster_embeds = self.clusters(self.tower)
            assignment = self.assign(mask_feats, cluster_embeds)
            if self.training and self.queue is not None:
                self.queue.push(gather_rows(_unit(mask_feats))[0])
            targets = merge_masks(
                all_masks,
                image_ids,
                assignment.cluster_ids,
                num_images=len(images),
                num_clusters=self.clusters.num_clusters,
            )
            loss = self.cluster_loss(student_feats, cluster_embeds, targets)
        self.statistics = PixelCLIPStatistics(loss.detach(), image_ids, assignment)
        return {"loss_mask": loss}

    def pool(self, feats: Tensor, masks: Tensor, image_ids: Tensor) -> Tensor:
        """f_M, (M, D): means of features (B, D, h, w) in masks (M, *mask_size).

        ``image_ids`` (M,) are ascending.
        """
        weights = location_weights(masks, (feats.shape[2], feats.shape[3]))
        pooled = [
            pool_masks(image_feats[None].float(), weights[image_ids == image_id][None])[0]
            for image_id, image_feats in enumerate(feats)
        ]
        return torch.cat(pooled)

    def assign(self, mask_feats: Tensor, cluster_embeds: Tensor) -> Assignment:
        """Assign masks (M, D) to clusters (P, D) by cosines, jointly over ranks and the queue."""
        with torch.no_grad(), torch.autocast(mask_feats.device.type, enabled=False):
            clusters = _unit(cluster_embeds).t()
            return assign_clusters(
                _unit(mask_feats) @ clusters,
                epsilon=self.epsilon,
                num_iters=self.num_iters,
                official=self.official,
                memory=None if self.queue is None else self.queue.vectors @ clusters,
            )

    def cluster_loss(self, feats: Tensor, cluster_embeds: Tensor, targets: Tensor) -> Tensor:
        """Loss of features (B, D, h, w), clusters (P, D) and targets (B, P, *mask_size)."""
        logits = cluster_logits(feats, cluster_embeds, self.decoder, self.mask_size)
        return masked_bce_loss(logits, targets, (targets > 0).any(dim=1))

    def mask_loss(
        self, feats: Tensor, mask_feats: Tensor, masks: Tensor, image_ids: Tensor
    ) -> Tensor:
        """Loss without clustering: the masks (M, *mask_size) are the targets.

        Paper: [pixelclip] Sec. 3.2, M_IM: the student's (B, D, h, w) compared with f_M (M, D).
        """
        zeros = torch.zeros_like(image_ids)
        covered = merge_masks(masks, image_ids, zeros, num_images=len(feats), num_clusters=1)[:, 0]
        student, mask_embeds = _unit(feats), _unit(mask_feats)
        maps = torch.cat(
            [
                torch.einsum("dhw,md->mhw", image_feats, mask_embeds[image_ids == image_id])
                for image_id, image_feats in enumerate(student)
            ]
        )
        logits = self.decoder(maps, self.mask_size)
        return masked_bce_loss(logits[:, None], masks[:, None], covered[image_ids] > 0)

    @torch.no_grad()
    def predict_masks(self, images: Tensor) -> Tensor:
        """Masks of all clusters, for drawings: (B, 3, H, W) -> logits (B, P, *mask_size).

        Raises:
            ValueError: there are no clusters.
        """
        if self.clusters is None:
            raise ValueError("clusters is None; give clusters, whose masks are predicted")
        feats = self._dense_feats(images)
        return cluster_logits(feats, self.clusters(self.tower), self.decoder, self.mask_size)

    def _dense_feats(self, images: Tensor, visual: nn.Module | None = None) -> Tensor:
        if self.image_size is not None:
            images = resize_images(images, self.image_size)
        if self.official:
            return official_feats(self.tower, images, self.last_block, visual=visual)
        return self.tower.dense_feats(self.tower.normalize(images), self.last_block, visual=visual)

    def _check_image_size(self, size: Size) -> None:
        if self.official:
            return
        patch = self.tower.patch_size
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ValueError(
                f"images of {size} pixels are not whole patches of {patch}, and masks would not "
                "fit their features; choose image_size in whole patches"
            )

    def _check_batch(self, images: Tensor, masks: Sequence[Tensor], strong: Tensor) -> None:
        if strong.shape != images.shape or len(masks) != len(images):
            raise ValueError(
                f"images {tuple(images.shape)}, strong_images {tuple(strong.shape)} and masks for "
                f"{len(masks)} images; give two views of one shape and masks for each image"
            )
        for image_masks in masks:
            if image_masks.dim() != 3 or image_masks.shape[1:] != images.shape[2:]:
                raise ValueError(
                    f"masks of shape {tuple(image_masks.shape)} for images {tuple(images.shape)}; "
                    "give (N, H, W) of the image's own size, N = 0 for none"
                )
        if self.image_size is None:
            self._check_image_size((images.shape[2], images.shape[3]))


def cluster_logits(
    feats: Tensor, cluster_embeds: Tensor, decoder: PixelCLIPDecoder, size: Size
) -> Tensor:
    """Decode the cosine maps of features with clusters.

    Paper: [pixelclip] Sec. 3.2, the decoder D.

    Args:
        feats: (B, D, h, w), of any length.
        cluster_embeds: (P, D), of any length.
        decoder: from cosine maps to logits.
        size: (H, W) in pixels of the result.

    Returns:
        (B, P, H, W) logits of the clusters' masks.
    """
    maps = torch.einsum("bdhw,pd->bphw", _unit(feats), _unit(cluster_embeds))
    return decoder(maps, size)


def _unit(vectors: Tensor) -> Tensor:
    """Unit norm along D, the second dimension of (B, D, h, w) or (M, D)."""
    return F.normalize(vectors.float(), dim=1)


def _start_teacher(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Add a teacher, a copy of the student, to weights without one, such as a CLIP's."""
    teacher, student = f"{prefix}teacher.", f"{prefix}tower.model.visual."
    if any(key.startswith(teacher) for key in state_dict):
        return
    for key in [key for key in state_dict if key.startswith(student)]:
        state_dict[teacher + key.removeprefix(student)] = state_dict[key]
