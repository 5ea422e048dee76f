"""MaskAdaptedCLIP as a meta-architecture: training on crops of masks, classification of masks."""

from typing import Any

from torch import Tensor

from ..clip import MaskPromptedTower
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..d2.utils.events import get_event_storage, has_event_storage
from ..ops import CropOptions
from ..systems import MaskAdaptedCLIP as MaskAdaptedCLIPSystem
from ..systems import OVSegClassifier
from ..text import TextBank
from .clip_parts import build_tower, named_or_listed
from .inputs import InputReader, build_inputs
from .open_vocabulary import OpenVocabularyModel

__all__ = ["MaskAdaptedCLIP"]


@META_ARCH_REGISTRY.register()
class MaskAdaptedCLIP(OpenVocabularyModel):
    """Adaptation of CLIP to masked crops (adapter of the system).

    In evaluation it classifies the masks of its inputs, as OVSeg's classifier does, on the current
    weights. ``MODEL.OVSEG.CLIP_WEIGHTS`` takes its checkpoints.
    """

    @configurable
    def __init__(
        self,
        *,
        system: MaskAdaptedCLIPSystem,
        inputs: InputReader,
        crop: CropOptions | None = None,
    ) -> None:
        """Build the adapter of its parts.

        Args:
            system: the plain module, with a text bank for training.
            inputs: reads input dicts; its text bank is on the same tower.
            crop: how masks are cut out in evaluation.
        """
        super().__init__(inputs)
        self.system = system
        crop = crop or CropOptions(fill=system.fill)
        # In a tuple, because its weights are the system's.
        self._classifier = (OVSegClassifier(system.prompted, crop=crop),)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.MASK_ADAPTED_CLIP``, ``INPUT.PAIRS.EXPAND_RATIO`` and the tower's keys."""
        options = cfg.MODEL.MASK_ADAPTED_CLIP
        tower = build_tower(cfg)
        crop = CropOptions(fill=options.FILL, expand_ratio=cfg.INPUT.PAIRS.EXPAND_RATIO)
        templates = named_or_listed(options.TEMPLATES or cfg.MODEL.TEXT.TEMPLATES)
        system = MaskAdaptedCLIPSystem(
            MaskPromptedTower(tower, depth=options.PROMPT_DEPTH),
            # One by one: the last bits of a vector depend on its batch, and a resumed run encodes
            # the nouns in another order.
            TextBank(tower, templates, batch_size=1),
            train=options.TRAIN,
            fill=crop.fill,
            max_logit_scale=options.MAX_LOGIT_SCALE,
            official=options.OFFICIAL,
        )
        return {
            "system": system,
            "crop": crop,
            "inputs": build_inputs(cfg, tower),
        }

    @property
    def classifier(self) -> OVSegClassifier:
        """The classifier of masks by their crops, on the current weights."""
        return self._classifier[0]

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """The loss in training, classes of masks in evaluation.

        Training reads ``image`` (3, h, w), a crop with its background, ``mask`` (h, w) bool and
        ``noun``. Evaluation reads ``image`` (3, H, W) and ``masks``, (Q, H, W) bool, and returns
        ``mask_probs``, (Q, K) softmax probabilities; zeros for an empty mask.

        Raises:
            ValueError: an input lacks one of these entries.
        """
        if self.training:
            losses = self.system(
                [self.rgb_image(pair)[0] for pair in batched_inputs],
                [_entry(pair, "mask", "INPUT.TRAIN_MAPPER to pairs") for pair in batched_inputs],
                [_entry(pair, "noun", "INPUT.TRAIN_MAPPER to pairs") for pair in batched_inputs],
            )
            if has_event_storage():
                scale = self.system.log_scale.detach().exp().item()
                get_event_storage().put_scalar("mask_adapted_clip/logit_scale", scale)
            return losses
        results = []
        for sample in batched_inputs:
            masks = _entry(sample, "masks", "TEST.TASK to mask_crops").to(self.device)
            image, texts = self.rgb_image(sample)[0], self.class_texts(sample)
            results.append({"mask_probs": self.classifier(image, masks, texts).probs})
        return results


def _entry(batched_input: dict[str, Any], name: str, remedy: str) -> Any:
    if name not in batched_input:
        raise ValueError(
            f"MaskAdaptedCLIP reads masks, and {batched_input.get('file_name', 'an input')} comes "
            f"without {name!r}; set {remedy}"
        )
    return batched_input[name]
