"""MaskAdaptedCLIP as a meta-architecture: trains on crops of masks, names crops of masks."""

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
from .build import build_tower, named_or_listed
from .inputs import InputReader, build_inputs
from .open_vocabulary import OpenVocabularyModel

__all__ = ["MaskAdaptedCLIP"]


@META_ARCH_REGISTRY.register()
class MaskAdaptedCLIP(OpenVocabularyModel):
    """Adaptation of CLIP to masked crops (adapter of the system).

    In evaluation it names the masks that inputs bring, as OVSeg's classifier does with the weights
    of the moment. Its checkpoints are what ``MODEL.OVSEG.CLIP_WEIGHTS`` takes.
    """

    @configurable
    def __init__(
        self,
        *,
        system: MaskAdaptedCLIPSystem,
        inputs: InputReader,
        crop: CropOptions | None = None,
    ) -> None:
        """Put built parts together.

        Args:
            system: the plain module, with a text bank for training.
            inputs: reads input dicts; its text bank is on the same tower.
            crop: how masks are cut out in evaluation.
        """
        super().__init__(inputs)
        self.system = system
        crop = crop or CropOptions(fill=system.fill)
        # In a tuple, for its parts are registered under the system already.
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
            # One by one: a vector that depended, in its last bits, on the nouns it was encoded
            # with would differ in a resumed run, which meets them in another order.
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
        """Names masks by their crops, on the current weights."""
        return self._classifier[0]

    def forward(
        self, batched_inputs: list[dict[str, Any]]
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """The loss in training, classes of masks in evaluation.

        Training reads ``image``, a crop with its background, ``mask`` (h, w) bool and ``noun``.
        Evaluation reads ``image`` and ``masks``, (Q, H, W) bool of the image's size, and gives
        ``mask_probs``, (Q, K) softmax probabilities; zeros for an empty mask.

        Raises:
            ValueError: inputs without what is read.
        """
        if self.training:
            losses = self.system(
                [self.rgb_image(each)[0] for each in batched_inputs],
                [_entry(each, "mask", "INPUT.TRAIN_MAPPER to pairs") for each in batched_inputs],
                [_entry(each, "noun", "INPUT.TRAIN_MAPPER to pairs") for each in batched_inputs],
            )
            if has_event_storage():
                scale = self.system.log_scale.detach().exp().item()
                get_event_storage().put_scalar("mask_adapted_clip/logit_scale", scale)
            return losses
        classifier, found = self.classifier, []
        for each in batched_inputs:
            masks = _entry(each, "masks", "TEST.TASK to mask_crops").to(self.device)
            classes = classifier(self.rgb_image(each)[0], masks, self.class_texts(each))
            found.append({"mask_probs": classes.probs})
        return found


def _entry(batched_input: dict[str, Any], name: str, remedy: str) -> Any:
    if name not in batched_input:
        raise ValueError(
            f"MaskAdaptedCLIP reads masks, and {batched_input.get('file_name', 'an input')} comes "
            f"without {name!r}; set {remedy}"
        )
    return batched_input[name]
