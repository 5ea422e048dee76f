"""PixelCLIP as a meta-architecture: trains on unlabelled masks, answers as MaskCLIP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..clip import set_trainable
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..d2.utils import comm
from ..d2.utils.events import get_event_storage, has_event_storage
from ..ops import merge_masks, resize_masks
from ..systems import MaskCLIP as MaskCLIPSystem
from ..systems import PixelCLIP as PixelCLIPSystem
from ..viz import draw_clusters
from .build import build_tower
from .fitting import GREY, BatchPadder
from .inputs import InputReader, build_inputs
from .maskclip import MaskCLIP, maskclip_options
from .pixelclip_head import build_cluster_head

__all__ = ["ClusterDescription", "PixelCLIP"]

# What a batch counts for in `masks_lately` after the next one: those of about 100 matter.
_FADING = 0.99
_NUM_PICTURES = 4


@dataclass(frozen=True)
class ClusterDescription:
    """What a cluster has become.

    Attributes:
        cluster: its number.
        masks: how many it took of a batch lately, on average, all ranks together.
        words: the classes nearest to it, best first, with their cosines.
    """

    cluster: int
    masks: float
    words: tuple[tuple[str, float], ...]


@META_ARCH_REGISTRY.register()
class PixelCLIP(MaskCLIP):
    """Training of CLIP's image half on pictures with unlabelled masks (adapter of the system).

    In evaluation it segments as MaskCLIP on the student's current weights. Checkpoints
    hold the teacher too, and how many masks each cluster took lately.
    """

    masks_lately: Tensor | None
    batches_lately: Tensor

    @configurable
    def __init__(
        self,
        *,
        system: PixelCLIPSystem,
        inputs: InputReader,
        maskclip: MaskCLIPSystem,
        vis_period: int = 0,
    ) -> None:
        """Put built parts together.

        Args:
            system: the plain module.
            inputs: reads input dicts; its text bank is on the system's tower.
            maskclip: scores pixels, on the student's weights; see the system's ``inference``.
            vis_period: iterations from one drawing of training pictures to the next; 0 draws none.
        """
        super().__init__(system=system, inputs=inputs, maskclip=maskclip)
        self._vis_period = vis_period
        self._pad = BatchPadder()
        counts = None if system.clusters is None else torch.zeros(system.clusters.num_clusters)
        self.register_buffer("masks_lately", counts)
        self.register_buffer("batches_lately", torch.zeros(()))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.PIXELCLIP``, ``VIS_PERIOD`` and what :class:`MaskCLIP` reads.

        Of the tower only what ``TRAINABLE`` names is trained; the text half never is.
        """
        options = cfg.MODEL.PIXELCLIP
        tower = build_tower(cfg)
        set_trainable(tower, options.TRAINABLE)
        head = build_cluster_head(cfg, tower)
        maskclip = maskclip_options(cfg, tower)
        # The system says what its own inference departs from.
        del maskclip["official"]
        system = PixelCLIPSystem(
            tower,
            clusters=head.clusters,
            decoder=head.decoder,
            last_block=maskclip["last_block"],
            momentum=options.MOMENTUM,
            epsilon=options.EPSILON,
            num_iters=options.SINKHORN_ITERS,
            queue_size=options.QUEUE,
            mask_size=tuple(options.MASK_SIZE),
            image_size=tuple(options.IMAGE_SIZE) or None,
            official=options.OFFICIAL,
        )
        return {
            "system": system,
            "maskclip": system.inference(**maskclip),
            "inputs": build_inputs(cfg, tower),
            "vis_period": cfg.VIS_PERIOD,
        }

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image``, the view that the student sees, ``teacher_image``, the same crop
        as the teacher sees it (without one it is the same), and ``masks``, (Q, H, W) bool.
        Images of different sizes are padded; no mask covers what is added.

        Raises:
            ValueError: training images without ``masks``, or masks of another size than theirs.
        """
        if not self.training:
            return super().forward(batched_inputs)
        if any("masks" not in each for each in batched_inputs):
            raise ValueError("training images come without masks; set INPUT.TRAIN_MAPPER to masks")
        fills = {"image": GREY, "teacher_image": GREY, "masks": False}
        batched_inputs = self._pad(batched_inputs, self.system.tower.patch_size, fills)
        strong = self.rgb_batch(batched_inputs)
        weak = [{"image": each.get("teacher_image", each["image"])} for each in batched_inputs]
        images = self.rgb_batch(weak)
        masks = [each["masks"].to(self.device) for each in batched_inputs]
        losses = self.system(images, masks, strong)
        self._count()
        if has_event_storage():
            self._log(strong, masks)
        return losses

    @torch.no_grad()
    def describe_clusters(self, num_words: int = 5) -> list[ClusterDescription]:
        """What each cluster has become, those that took most masks lately first.

        Args:
            num_words: how many classes of the default vocabulary are told; none without one.

        Returns:
            A description of each cluster; nothing without clustering.
        """
        if self.masks_lately is None:
            return []
        masks = (self.masks_lately / self.batches_lately.clamp(min=1e-12)).tolist()
        words: list[tuple[tuple[str, float], ...]] = [()] * len(masks)
        vocabulary = self.inputs.default_vocabulary
        if vocabulary is not None:
            texts = self.text_bank.class_texts(vocabulary)
            cosines = self.system.clusters(self.system.tower).float() @ texts.embeds.t()
            best = texts.best_of_words(cosines, dim=1).topk(min(num_words, len(vocabulary)), dim=1)
            words = [
                tuple((vocabulary.names[number], value) for number, value in zip(*row, strict=True))
                for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        found = [ClusterDescription(i, masks[i], words[i]) for i in range(len(masks))]
        return sorted(found, key=lambda each: -each.masks)

    def _count(self) -> None:
        """Add the batch to what clusters took lately."""
        assignment = self.system.statistics.assignment
        if assignment is not None and self.masks_lately is not None:
            self.masks_lately.mul_(_FADING).add_(assignment.counts)
            self.batches_lately.mul_(_FADING).add_(1)

    def _log(self, images: Tensor, masks: Sequence[Tensor]) -> None:
        """Numbers of the step, and at times pictures, for the writers of the training."""
        storage = get_event_storage()
        numbers = self.system.statistics.numbers()
        del numbers["loss_mask"]  # the trainer's
        for name, value in numbers.items():
            storage.put_scalar(f"pixelclip/{name}", value)
        drawn = self._vis_period > 0 and storage.iter % self._vis_period == 0
        if drawn and comm.is_main_process() and self.system.clusters is not None:
            for number in range(min(_NUM_PICTURES, len(images))):
                picture = self._draw(images, masks, number)
                storage.put_image(f"pixelclip/{number}", picture)

    def _draw(self, images: Tensor, masks: Sequence[Tensor], number: int) -> np.ndarray:
        """(3, h, w) uint8: an image of the last batch, its clusters and what is predicted."""
        found = self.system.statistics
        num_clusters = self.system.clusters.num_clusters
        resized, _ = resize_masks(masks[number], self.system.mask_size)
        targets = merge_masks(
            resized,
            torch.zeros(len(resized), dtype=torch.int64, device=self.device),
            found.assignment.cluster_ids[found.image_ids == number],
            num_images=1,
            num_clusters=num_clusters,
        )
        logits = self.system.predict_masks(images[number : number + 1])
        names = [f"cluster {index}" for index in range(num_clusters)]
        pixels = images[number].round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        picture = draw_clusters(np.ascontiguousarray(pixels), targets[0], logits[0], names)
        return np.asarray(picture).transpose(2, 0, 1)
