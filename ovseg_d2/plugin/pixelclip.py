"""PixelCLIP as a meta-architecture: training on unlabelled masks, inference as MaskCLIP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..clip import CLIPTower, Training, set_quick_gelu, set_trainable, uses_quick_gelu
from ..d2.config import CfgNode, configurable
from ..d2.layers import ShapeSpec
from ..d2.modeling import META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
from ..d2.utils import comm
from ..d2.utils.events import get_event_storage, has_event_storage
from ..nets import PixelCLIPDecoder
from ..ops import merge_masks, resize_masks
from ..systems import MaskCLIP as MaskCLIPSystem
from ..systems import PixelCLIP as PixelCLIPSystem
from ..systems import cluster_logits
from ..text import ClassPrompts, ClusterVectors, TextBank
from ..viz import draw_clusters
from ..vocab import read_words
from .clip_parts import build_tower, named_or_listed
from .fitting import GREY, BatchPadder
from .inputs import InputReader, build_inputs
from .maskclip import MaskCLIP, maskclip_options
from .registered import head_type

__all__ = ["ClusterDescription", "OVSegPixelCLIPClusterHead", "PixelCLIP"]

# Factor of `masks_lately` at each batch: about 100 batches count.
_FADING = 0.99
_NUM_DRAWN = 4
# The key of the head's input shape; `OVSegCLIPBackbone` has this map.
_FEATURES = "clip_dense"
_REMEDY = (
    "is no head of PixelCLIP; set it to OVSegPixelCLIPClusterHead, or register a subclass of it"
)


@SEM_SEG_HEADS_REGISTRY.register()
class OVSegPixelCLIPClusterHead(nn.Module):
    """Clusters of masks, and the decoder of their similarity maps; inference needs neither.

    Departs from detectron2's heads: the system computes the loss with ``clusters`` and ``decoder``;
    the constructor takes the tower beside config and shapes, because prompts start as its tokens.
    Subclasses may be registered as further heads.

    Args:
        clusters: gives cluster embeddings (P, D) of a tower; None trains without clustering.
        decoder: from similarity maps to masks.
        tower: whose text half encodes the clusters.
        size: (H, W) in pixels of the cluster maps.
    """

    @configurable
    def __init__(
        self,
        *,
        clusters: ClassPrompts | ClusterVectors | None,
        decoder: PixelCLIPDecoder,
        tower: CLIPTower,
        size: tuple[int, int],
    ) -> None:
        """Build the head of its parts."""
        super().__init__()
        self.clusters = clusters
        self.decoder = decoder
        # In a tuple, because its weights are the system's.
        self._tower = (tower,)
        self._size = size

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec], *, tower: CLIPTower
    ) -> dict[str, Any]:
        """Read ``MODEL.PIXELCLIP``.

        Args:
            cfg: the config.
            input_shape: of the dense features, called ``clip_dense``.
            tower: whose text half encodes prompts and names.

        Raises:
            ValueError: a value that clusters or decoder refuse.
        """
        options = cfg.MODEL.PIXELCLIP
        return {
            "clusters": _build_clusters(cfg, input_shape[_FEATURES].channels, tower),
            "decoder": PixelCLIPDecoder(
                channels=tuple(options.DECODER_CHANNELS),
                stem_channels=options.DECODER_STEM or None,
            ),
            "tower": tower,
            "size": tuple(options.MASK_SIZE),
        }

    def forward(self, features: Tensor) -> Tensor:
        """Dense features (B, D, h, w) to cluster maps, (B, P, H, W) logits.

        Raises:
            ValueError: there are no clusters.
        """
        if self.clusters is None:
            raise ValueError("clusters is None; give clusters, whose maps are decoded")
        return cluster_logits(features, self.clusters(self._tower[0]), self.decoder, self._size)


def _build_clusters(
    cfg: CfgNode, width: int, tower: CLIPTower
) -> ClassPrompts | ClusterVectors | None:
    options = cfg.MODEL.PIXELCLIP
    if options.CLUSTERING == "none":
        return None
    if options.CLUSTERING == "vectors":
        vectors = F.normalize(torch.randn(options.CLUSTERS, width), dim=1)
        return ClusterVectors(vectors, learnable=options.LEARNABLE)
    templates = named_or_listed(options.TEMPLATES)
    if options.CLUSTERING == "names":
        if not options.CLASS_NAMES:
            raise ValueError(
                "MODEL.PIXELCLIP.CLASS_NAMES is empty, and CLUSTERING 'names' needs names; give "
                "some, or one word list, such as ['coco_stuff171']"
            )
        names = read_words(options.CLASS_NAMES, "MODEL.PIXELCLIP.CLASS_NAMES")
        text_bank = TextBank(tower, templates, batch_size=cfg.MODEL.TEXT.BATCH_SIZE)
        return ClusterVectors(text_bank.embed(names), learnable=False)
    return ClassPrompts(
        tower,
        num_clusters=options.CLUSTERS,
        length=options.PROMPT_LENGTH,
        templates=templates,
        words=list(options.PROMPT_WORDS) or None,
        learnable=options.LEARNABLE,
    )


@dataclass(frozen=True)
class ClusterDescription:
    """What a cluster has learnt.

    Attributes:
        cluster: its number.
        masks: recent number of its masks in a batch, averaged over batches, of all ranks.
        words: the classes nearest to it, best first, with their cosines.
    """

    cluster: int
    masks: float
    words: tuple[tuple[str, float], ...]


@META_ARCH_REGISTRY.register()
class PixelCLIP(MaskCLIP):
    """Training of CLIP's image half on images with unlabelled masks (adapter of the system).

    In evaluation it segments as MaskCLIP on the student's current weights. Checkpoints hold the
    teacher too, and how many masks each cluster had lately.
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
        """Build the adapter of its parts.

        Args:
            system: the plain module.
            inputs: reads input dicts; its text bank is on the system's tower.
            maskclip: scores pixels, on the student's weights; see the system's ``inference``.
            vis_period: iterations between drawings of training images; 0 draws none.
        """
        super().__init__(system=system, inputs=inputs, maskclip=maskclip)
        self._vis_period = vis_period
        self._pad = BatchPadder()
        counts = None if system.clusters is None else torch.zeros(system.clusters.num_clusters)
        self.register_buffer("masks_lately", counts)
        self.register_buffer("batches_lately", torch.zeros(()))
        self.register_load_state_dict_pre_hook(_start_counting)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.PIXELCLIP``, ``VIS_PERIOD`` and what :class:`MaskCLIP` reads.

        ``TRAINABLE`` names the trained part of the image half; the text half is frozen.
        """
        options = cfg.MODEL.PIXELCLIP
        tower = build_tower(cfg)
        set_trainable(tower, options.TRAINABLE)
        shape = ShapeSpec(channels=tower.embed_dim, stride=tower.patch_size[0])
        kind = head_type(cfg, OVSegPixelCLIPClusterHead, _REMEDY)
        head = kind(cfg, {_FEATURES: shape}, tower=tower)
        inference = _inference_options(cfg, tower)
        system = PixelCLIPSystem(
            tower,
            clusters=head.clusters,
            decoder=head.decoder,
            last_block=inference["last_block"],
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
            "maskclip": system.inference(**inference),
            "inputs": build_inputs(cfg, tower),
            "vis_period": cfg.VIS_PERIOD,
        }

    def _build_maskclip(self, cfg: CfgNode) -> MaskCLIPSystem:
        return self.system.inference(**_inference_options(cfg, self.system.tower))

    def adopt_training(self, training: Training) -> None:
        """Give student and teacher the activation and statistics of loaded weights."""
        super().adopt_training(training)
        if self.system.teacher is not None:
            student = self.system.tower.model.visual
            set_quick_gelu(self.system.teacher, bool(uses_quick_gelu(student)))

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image`` (3, H, W), the student's view; ``teacher_image`` (3, H, W), the
        teacher's view of the same crop, by default ``image``; and ``masks``, (Q, H, W) bool. Images
        of different sizes are padded, and no mask covers the padding.

        Raises:
            ValueError: training images without ``masks``, or masks of another size than their
                image.
        """
        if not self.training:
            return super().forward(batched_inputs)
        if any("masks" not in sample for sample in batched_inputs):
            raise ValueError("training images come without masks; set INPUT.TRAIN_MAPPER to masks")
        fills = {"image": GREY, "teacher_image": GREY, "masks": False}
        multiple = (1, 1) if self.system.official else self.system.tower.patch_size
        samples = self._pad(batched_inputs, multiple, fills)
        strong = self.rgb_batch(samples)
        weak = self.rgb_batch(
            [{"image": sample.get("teacher_image", sample["image"])} for sample in samples]
        )
        masks = [sample["masks"].to(self.device) for sample in samples]
        losses = self.system(weak, masks, strong)
        self._count()
        if has_event_storage():
            self._log(strong, masks)
        return losses

    @torch.no_grad()
    def describe_clusters(self, num_words: int = 5) -> list[ClusterDescription]:
        """Describe the clusters, sorted by their recent number of masks, the largest first.

        Args:
            num_words: how many classes of the default vocabulary to name; without a default
                vocabulary none are.

        Returns:
            One description per cluster; [] without clustering.
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
        clusters = [ClusterDescription(i, masks[i], words[i]) for i in range(len(masks))]
        return sorted(clusters, key=lambda cluster: -cluster.masks)

    def _count(self) -> None:
        """Add the last batch to the clusters' recent numbers of masks."""
        assignment = self.system.statistics.assignment
        if assignment is not None and self.masks_lately is not None:
            self.masks_lately.mul_(_FADING).add_(assignment.counts)
            self.batches_lately.mul_(_FADING).add_(1)

    def _log(self, images: Tensor, masks: Sequence[Tensor]) -> None:
        """Store the step's numbers and, every ``vis_period`` iterations, drawings."""
        storage = get_event_storage()
        numbers = self.system.statistics.numbers()
        del numbers["loss_mask"]  # the trainer logs it
        for name, value in numbers.items():
            storage.put_scalar(f"pixelclip/{name}", value)
        drawn = self._vis_period > 0 and storage.iter % self._vis_period == 0
        if drawn and comm.is_main_process() and self.system.clusters is not None:
            for number in range(min(_NUM_DRAWN, len(images))):
                storage.put_image(f"pixelclip/{number}", self._draw(images, masks, number))

    def _draw(self, images: Tensor, masks: Sequence[Tensor], number: int) -> np.ndarray:
        """(3, h, w) uint8: an image of the last batch, its clusters and the predicted ones."""
        statistics = self.system.statistics
        num_clusters = self.system.clusters.num_clusters
        resized, _ = resize_masks(masks[number], self.system.mask_size)
        targets = merge_masks(
            resized,
            torch.zeros(len(resized), dtype=torch.int64, device=self.device),
            statistics.assignment.cluster_ids[statistics.image_ids == number],
            num_images=1,
            num_clusters=num_clusters,
        )
        logits = self.system.predict_masks(images[number : number + 1])
        names = [f"cluster {index}" for index in range(num_clusters)]
        pixels = images[number].round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        drawing = draw_clusters(np.ascontiguousarray(pixels), targets[0], logits[0], names)
        return np.asarray(drawing).transpose(2, 0, 1)


def _inference_options(cfg: CfgNode, tower: CLIPTower) -> dict[str, Any]:
    options = maskclip_options(cfg, tower)
    del options["official"]  # the system's own reaches its inference
    return options


def _start_counting(module: PixelCLIP, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Start to count masks at 0 if weights come without counts, as a release's do; a hook."""
    for name in ("masks_lately", "batches_lately"):
        count = getattr(module, name)
        if count is not None and f"{prefix}{name}" not in state_dict:
            state_dict[f"{prefix}{name}"] = torch.zeros_like(count)
