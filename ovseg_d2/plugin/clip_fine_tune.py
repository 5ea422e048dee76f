"""CLIPFineTune as a meta-architecture: the fine-tuning that MaskCLIP+ argues against."""

from typing import Any

from torch import Tensor

from ..clip import CLIPTower
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..nets import TextClassifier
from ..systems import CLIPFineTune as CLIPFineTuneSystem
from ..systems import TextSegmenter
from .backbones import OVSegCLIPBackbone
from .clip_parts import build_tower
from .dense_head import build_dense_network
from .inputs import InputReader, build_inputs
from .label_training import LabelledTraining, check_labels_are_read, check_unseen
from .registered import build_backbone

__all__ = ["CLIPFineTune"]


@META_ARCH_REGISTRY.register()
class CLIPFineTune(LabelledTraining):
    """A network on CLIP's image encoder, trained on labels of seen classes (adapter of the system).

    [maskclip] calls the method conventional and gives it no name. The backbone is CLIP's image
    half, `OVSegCLIPBackbone`, or a network of timm with its weights, such as the dilated
    ``resnet50_clip.openai``.
    """

    @configurable
    def __init__(
        self,
        *,
        system: CLIPFineTuneSystem,
        inputs: InputReader,
        unseen: tuple[str, ...] = (),
        text_tower: CLIPTower | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        """Build the adapter of its parts.

        Args:
            system: the plain module.
            inputs: reads input dicts; the text half of its text bank's tower is frozen.
            unseen: classes and class sets that are not trained on.
            text_tower: that tower, unless it is the backbone's.
            loss_weight: of the pixels' loss.
        """
        super().__init__(inputs, unseen=unseen)
        self.system = system
        self.text_tower = text_tower
        self._loss_weight = loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.FINE_TUNE`` and what network, tower and text bank read.

        Raises:
            ValueError: nothing to train, an unknown mapper, unseen classes that a training set does
                not have, or a value that a part refuses.
        """
        options = cfg.MODEL.FINE_TUNE
        check_unseen(cfg)
        check_labels_are_read(cfg)
        backbone = build_backbone(cfg)
        text_tower = None
        if isinstance(backbone, OVSegCLIPBackbone):
            tower = backbone.tower
        else:
            tower = text_tower = build_tower(cfg).requires_grad_(False)
        network = build_dense_network(cfg, backbone, tower.embed_dim)
        classifier = TextClassifier(
            tower.embed_dim, mapper=options.MAPPER, logit_scale=options.LOGIT_SCALE or None
        )
        system = CLIPFineTuneSystem(
            TextSegmenter(network, classifier), ignore=cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE
        )
        return {
            "system": system,
            "unseen": tuple(cfg.INPUT.SEMANTIC.UNSEEN),
            "text_tower": text_tower,
            "inputs": build_inputs(cfg, tower),
            "loss_weight": cfg.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT,
        }

    @property
    def scorer(self) -> TextSegmenter:
        """The trained network."""
        return self.system.segmenter

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training, segmentations in evaluation.

        Training reads ``image`` (3, H, W) and ``sem_seg``, (H, W) int64 as
        :class:`~ovseg_d2.systems.CLIPFineTune` describes it.

        Raises:
            ValueError: images without labels, inputs of several vocabularies, or the system's
                errors.
        """
        if not self.training:
            return super().forward(batched_inputs)
        images, texts, labels, unseen_ids = self.training_batch(
            batched_inputs, self.system.segmenter, self.system.ignore
        )
        losses = self.system(images, texts, labels, unseen_ids=unseen_ids)
        return {name: self._loss_weight * loss for name, loss in losses.items()}
