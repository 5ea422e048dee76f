"""OVSeg as a meta-architecture: mask proposals, classified by the MaskFormer and by CLIP."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..clip import MaskPromptedTower, Training, load_prompted_tower
from ..config import mask_options
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..masks import MaskSource, build_mask_source
from ..ops import CropOptions
from ..systems import (
    MaskFormerProposals,
    MaskProposals,
    OVSegClassifier,
    covering_proposals,
    with_others,
)
from ..systems import OVSeg as OVSegSystem
from ..systems import OVSegMaskFormer as OVSegMaskFormerSystem
from ..text import ClassTexts
from ..vocab import Vocabulary
from .clip_parts import build_tower
from .input_masks import input_masks, resize_nearest
from .inputs import build_inputs, dataset_vocabulary
from .label_training import check_unseen
from .ovseg_head import build_maskformer
from .ovseg_maskformer import OVSegMaskFormer, seen_classes, training_options

__all__ = ["OVSeg"]


@META_ARCH_REGISTRY.register()
class OVSeg(OVSegMaskFormer):
    """Mask proposals classified by the MaskFormer and by CLIP (adapter of the system).

    Training is that of `OVSegMaskFormer`, and checkpoints of both are interchangeable.

    Attributes:
        keeps: the beginning of the names that loading weights leaves unchanged; "" for none.
    """

    @configurable
    def __init__(
        self,
        *,
        ovseg: OVSegSystem,
        source: MaskSource | None = None,
        seen: Vocabulary | None = None,
        keep_clip: bool = False,
        **parts: Any,
    ) -> None:
        """Build the adapter of its parts.

        Args:
            ovseg: the plain system, on the MaskFormer and CLIP among ``parts``; its demo mode
                appends "others" to the vocabulary.
            source: replaces the MaskFormer's masks.
            seen: the classes that the MaskFormer was trained on, for the system's ``unseen_lam``.
            keep_clip: whether loading weights leaves CLIP and its prompts unchanged.
            **parts: of `OVSegMaskFormer`.

        Raises:
            ValueError: a lambda for unseen classes without ``seen``.
        """
        super().__init__(**parts)
        self._source = source
        # In a tuple, because its weights are registered under this module already.
        self._ovseg = (ovseg,)
        self._seen_words = None if seen is None else _words_of(seen)
        self._check_seen()
        self.keeps = "prompted." if keep_clip else ""
        if keep_clip:
            self.register_load_state_dict_pre_hook(_keep_clip)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.OVSEG`` and what :class:`OVSegMaskFormer` reads.

        Raises:
            ValueError: invalid options, or an adapted CLIP that does not fit.
            FileNotFoundError: an adapted CLIP, or a checkpoint of SAM, that does not exist.
        """
        options = cfg.MODEL.OVSEG
        check_unseen(cfg)
        tower = build_tower(cfg)
        inputs = build_inputs(cfg, tower)
        if options.CLIP_WEIGHTS:
            prompted = load_prompted_tower(tower, Path(options.CLIP_WEIGHTS))
        else:
            prompted = MaskPromptedTower(tower, depth=options.PROMPT_DEPTH)
        source = maskformer = None
        if options.PROPOSALS == "maskformer":
            maskformer = build_maskformer(cfg, tower.embed_dim)
        else:
            source = build_mask_source(options.PROPOSALS, **mask_options(cfg, options.PROPOSALS))
        return {
            "system": maskformer,
            "ovseg": _build_system(cfg, maskformer, prompted),
            "source": source,
            "prompted": prompted,
            "seen": _seen_vocabulary(cfg),
            "keep_clip": bool(options.CLIP_WEIGHTS),
            **training_options(cfg),
            "inputs": inputs,
        }

    def _set_options(self, cfg: CfgNode) -> None:
        self._ovseg = (_build_system(cfg, self.system, self.prompted),)
        self._check_seen()

    def _check_seen(self) -> None:
        if self.ovseg.unseen_lam is not None and self._seen_words is None:
            raise ValueError(
                f"MODEL.OVSEG.UNSEEN_LAMBDA is {self.ovseg.unseen_lam}, and nothing says which "
                "classes are seen; name the dataset of the training in DATASETS.TRAIN, or set it "
                "to -1.0"
            )

    def adopt_training(self, training: Training) -> None:
        """Give the CLIP the activation and statistics of loaded weights, unless it is kept."""
        if not self.keeps:
            super().adopt_training(training)

    @property
    def ovseg(self) -> OVSegSystem:
        """The plain system, on the current weights."""
        return self._ovseg[0]

    @property
    def lam(self) -> float | None:
        """The lambda of all classes; None if it is not one number, or not used."""
        plain = self.system is not None and self.ovseg.unseen_lam is None
        return self.ovseg.lam if plain and not self.ovseg.demo else None

    @property
    def scorer(self) -> OVSegSystem:
        """The system used for inference."""
        return self.ovseg

    def vocabulary_of(self, batched_input: dict[str, Any]) -> Vocabulary:
        """The input's vocabulary; demo mode appends "others" if missing."""
        vocabulary = super().vocabulary_of(batched_input)
        if not self.ovseg.demo or len(with_others(vocabulary.names)) == len(vocabulary):
            return vocabulary
        return vocabulary.union(Vocabulary.from_names(with_others([])))

    def class_texts(self, batched_input: dict[str, Any]) -> ClassTexts:
        """Text embeddings of an input's vocabulary, with ``seen`` if the system needs it."""
        texts = super().class_texts(batched_input)
        if self.ovseg.unseen_lam is None:
            return texts
        return replace(texts, seen=self._seen(self.vocabulary_of(batched_input)))

    @torch.no_grad()
    def propose(self, batched_input: dict[str, Any]) -> MaskProposals:
        """Mask proposals at image size, from the MaskFormer or the configured source."""
        image = self.rgb_image(batched_input)[0]
        if self._source is not None:
            return _propose(self._source, image, batched_input)
        return self.ovseg.source(image, self.class_texts(batched_input))

    @torch.no_grad()
    def score(self, batched_input: dict[str, Any], proposals: MaskProposals) -> Tensor:
        """Score an input's pixels, (K, height, width), with given masks at image size."""
        image, texts, size = self._arguments(batched_input)
        return self.ovseg.score_masks(image[0], proposals, texts, size)

    def sweep(self, batched_input: dict[str, Any], lams: Sequence[float]) -> Iterator[Tensor]:
        """Yield the scores (K, height, width) of one input at each lambda, see the system."""
        image, texts, size = self._arguments(batched_input)
        return self.ovseg.sweep(image[0], self.propose(batched_input), texts, lams, size)

    def _score(self, batched_input: dict[str, Any]) -> Tensor:
        if self._source is None:
            return super()._score(batched_input)
        return self.score(batched_input, self.propose(batched_input))

    def _label(self, batched_input: dict[str, Any]) -> Tensor:
        if self._source is None:
            return super()._label(batched_input)
        image, texts, size = self._arguments(batched_input)
        return self.ovseg.segment_masks(image[0], self.propose(batched_input), texts, size)

    def _seen(self, vocabulary: Vocabulary) -> Tensor:
        """Return which classes share a word with the training's classes, (K,) bool."""
        return torch.tensor(
            [
                any(word.casefold() in self._seen_words for word in words)
                for words in vocabulary.synonyms
            ]
        )


def _build_system(
    cfg: CfgNode, maskformer: OVSegMaskFormerSystem | None, prompted: MaskPromptedTower
) -> OVSegSystem:
    """Build the plain system that ``MODEL.OVSEG`` describes, on its networks."""
    options = cfg.MODEL.OVSEG
    crop = CropOptions(
        threshold=options.CROP.THRESHOLD,
        expand_ratio=options.CROP.EXPAND_RATIO,
        fill=options.CROP.FILL,
        matting=options.CROP.MATTING,
    )
    return OVSegSystem(
        None if maskformer is None else MaskFormerProposals(maskformer),
        OVSegClassifier(prompted, crop=crop, batch_size=options.CROP.BATCH_SIZE),
        lam=options.LAMBDA,
        unseen_lam=None if options.UNSEEN_LAMBDA < 0 else options.UNSEEN_LAMBDA,
        demo=options.DEMO,
        official=options.OFFICIAL,
    )


def _propose(source: MaskSource, image: Tensor, batched_input: dict[str, Any]) -> MaskProposals:
    """Return a source's masks of an input, without classes, and one of the uncovered pixels.

    Args:
        source: makes masks of the image, or reads stored ones by its ``file_name``.
        image: (3, H, W) RGB in 0..255.
        batched_input: its dict. Stored masks have the file's own ``height`` and ``width``, and are
            resized to the image by the nearest pixel.

    Raises:
        MaskFileError: masks that cannot be read, or have another size than their file.
    """
    masks = input_masks(source, image, batched_input)
    if masks.shape[1:] != image.shape[1:]:
        masks = resize_nearest(masks, (image.shape[1], image.shape[2]))
    return covering_proposals(masks)


def _keep_clip(module: OVSeg, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Replace the CLIP in loaded weights by the module's; a hook of ``load_state_dict``."""
    for key in [key for key in state_dict if key.startswith(f"{prefix}prompted.")]:
        del state_dict[key]
    state_dict.update(module.prompted.state_dict(prefix=f"{prefix}prompted."))


def _words_of(vocabulary: Vocabulary) -> frozenset[str]:
    return frozenset(word.casefold() for words in vocabulary.synonyms for word in words)


def _seen_vocabulary(cfg: CfgNode) -> Vocabulary | None:
    """Return the classes of all registered training datasets, without the unseen ones."""
    vocabularies = {name: dataset_vocabulary(name) for name in cfg.DATASETS.TRAIN}
    seen = [
        vocabulary.subset(seen_classes(cfg.INPUT.SEMANTIC.UNSEEN, vocabulary, name))
        for name, vocabulary in vocabularies.items()
        if vocabulary is not None
    ]
    return functools.reduce(Vocabulary.union, seen) if seen else None
