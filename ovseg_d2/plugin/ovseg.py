"""OVSeg as a meta-architecture: proposals, their crops as CLIP names them, and both together."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..clip import MaskPromptedTower, load_prompted_tower
from ..d2.config import CfgNode, configurable
from ..d2.modeling import META_ARCH_REGISTRY
from ..masks import MaskSource
from ..ops import CropOptions
from ..systems import MaskFormerProposals, MaskProposals, OVSegClassifier, with_others
from ..systems import OVSeg as OVSegSystem
from ..vocab import Vocabulary
from .base import dataset_vocabulary, open_vocabulary_options
from .build import build_tower
from .mask_sources import build_mask_source, propose_masks
from .ovseg_head import build_maskformer
from .ovseg_maskformer import OVSegMaskFormer, seen_classes, training_options
from .pixel_labels import check_unseen

__all__ = ["OVSeg"]


@META_ARCH_REGISTRY.register()
class OVSeg(OVSegMaskFormer):
    """Masks named by their maker and by CLIP (adapter of the system).

    Training is that of its MaskFormer, and its checkpoints are interchangeable with that one's.
    """

    @configurable
    def __init__(
        self,
        *,
        source: MaskSource | None = None,
        crop: CropOptions | None = None,
        crop_batch_size: int = 32,
        lam: float = 0.7,
        unseen_lam: float | None = None,
        seen: Vocabulary | None = None,
        demo: bool = False,
        official: bool = False,
        keep_clip: bool = False,
        **parts: Any,
    ) -> None:
        """Put built parts together.

        Args:
            source: gives masks in place of the MaskFormer.
            crop: how masks are cut out.
            crop_batch_size: most crops that are encoded at once.
            lam: lambda in [0, 1]: 0 is what the proposals say, 1 what CLIP says.
            unseen_lam: of the classes none of whose words is in ``seen``; None: the same.
            seen: the words that the MaskFormer was trained on.
            demo: as of the plain system; words get "others" behind them.
            official: as of the plain system.
            keep_clip: whether weights that are loaded leave CLIP and its prompts as they are.
            **parts: of `OVSegMaskFormer`.

        Raises:
            ValueError: a lambda outside [0, 1], one for unseen classes where nothing says which
                they are, or a batch size below 1.
        """
        super().__init__(**parts)
        self._source = source
        self._crop = crop or CropOptions()
        self._crop_batch_size = crop_batch_size
        self._options = {"lam": lam, "unseen_lam": unseen_lam, "demo": demo, "official": official}
        self._seen_words = None if seen is None else _words_of(seen)
        self._demo = demo
        if unseen_lam is not None and seen is None:
            raise ValueError(
                f"MODEL.OVSEG.UNSEEN_LAMBDA is {unseen_lam}, and nothing says which classes are "
                "seen; name the dataset of the training in DATASETS.TRAIN, or set it to -1.0"
            )
        _ = self.ovseg  # which checks the options
        if keep_clip:
            self.register_load_state_dict_pre_hook(_keep_clip)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read ``MODEL.OVSEG`` and what :class:`OVSegMaskFormer` reads.

        Raises:
            ValueError: options that mean nothing, or an adapted CLIP that does not fit.
            FileNotFoundError: an adapted CLIP, or a checkpoint of SAM, that is not there.
        """
        options = cfg.MODEL.OVSEG
        check_unseen(cfg)
        tower = build_tower(cfg)
        words = open_vocabulary_options(cfg, tower)
        if options.CLIP_WEIGHTS:
            prompted = load_prompted_tower(tower, Path(options.CLIP_WEIGHTS))
        else:
            prompted = MaskPromptedTower(tower, depth=options.PROMPT_DEPTH)
        source = build_mask_source(cfg)
        return {
            "system": build_maskformer(cfg, tower.embed_dim) if source is None else None,
            "source": source,
            "prompted": prompted,
            "crop": CropOptions(
                threshold=options.CROP.THRESHOLD,
                expand_ratio=options.CROP.EXPAND_RATIO,
                fill=options.CROP.FILL,
                matting=options.CROP.MATTING,
            ),
            "crop_batch_size": options.CROP.BATCH_SIZE,
            "lam": options.LAMBDA,
            "unseen_lam": None if options.UNSEEN_LAMBDA < 0 else options.UNSEEN_LAMBDA,
            "seen": _seen_vocabulary(cfg),
            "demo": options.DEMO,
            "official": options.OFFICIAL,
            "keep_clip": bool(options.CLIP_WEIGHTS),
            **training_options(cfg),
            **words,
        }

    @property
    def lam(self) -> float | None:
        """The lambda of all classes; None where there is no such number to change."""
        plain = self.system is not None and self._options["unseen_lam"] is None
        return self._options["lam"] if plain and not self._demo else None

    @property
    def ovseg(self) -> OVSegSystem:
        """The plain system on the weights of the moment."""
        classifier = OVSegClassifier(
            self.prompted, crop=self._crop, batch_size=self._crop_batch_size
        )
        source = None if self.system is None else MaskFormerProposals(self.system)
        return OVSegSystem(source, classifier, **self._options)

    def vocabulary_of(self, batched_input: dict[str, Any]) -> Vocabulary:
        """As of every model; in demo mode with "others" behind, once."""
        found = super().vocabulary_of(batched_input)
        if not self._demo or len(with_others(found.names)) == len(found):
            return found
        return found.union(Vocabulary.from_names(with_others([])))

    @property
    def scorer(self) -> OVSegSystem:
        """What answers: the plain system."""
        return self.ovseg

    @torch.no_grad()
    def propose(self, batched_input: dict[str, Any]) -> MaskProposals:
        """The masks of an input, at its image's size, whoever makes them."""
        (image, text_embeds, _), words = super()._arguments(batched_input)
        if self._source is not None:
            return propose_masks(self._source, image[0], batched_input)
        return self.ovseg.source(image[0], text_embeds, words["class_ids"])

    @torch.no_grad()
    def score(self, batched_input: dict[str, Any], proposals: MaskProposals) -> Tensor:
        """Scores (K, height, width) of one input with given masks, of its image's size."""
        args, words = self._arguments(batched_input, proposals)
        return self.ovseg.score_pixels(*args, **words)[0]

    def sweep(self, batched_input: dict[str, Any], lams: Sequence[float]) -> Iterator[Tensor]:
        """Scores (K, height, width) of one input for each lambda, see the plain system."""
        (image, text_embeds, size), words = super()._arguments(batched_input)
        proposals = self.propose(batched_input)
        return self.ovseg.sweep(image[0], text_embeds, lams, size, proposals=proposals, **words)

    def _arguments(
        self, batched_input: dict[str, Any], proposals: MaskProposals | None = None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, words = super()._arguments(batched_input)
        if proposals is None and self._source is not None:
            proposals = self.propose(batched_input)
        if proposals is not None:
            words["proposals"] = [proposals]
        if self._options["unseen_lam"] is not None:
            words["seen"] = self._seen(self.vocabulary_of(batched_input))
        return args, words

    def _seen(self, vocabulary: Vocabulary) -> Tensor:
        """(K,) bool, the classes that share a word with those of the training."""
        return torch.tensor(
            [
                any(word.casefold() in self._seen_words for word in words)
                for words in vocabulary.synonyms
            ]
        )


def _keep_clip(module: OVSeg, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Put the module's own CLIP in the place of the one that is being loaded."""
    own = module.prompted.state_dict(prefix=f"{prefix}prompted.")
    for key in [key for key in state_dict if key.startswith(f"{prefix}prompted.")]:
        del state_dict[key]
    state_dict.update(own)


def _words_of(vocabulary: Vocabulary) -> frozenset[str]:
    return frozenset(word.casefold() for words in vocabulary.synonyms for word in words)


def _seen_vocabulary(cfg: CfgNode) -> Vocabulary | None:
    """The words of all training datasets that are registered, but for the unseen ones."""
    found = [dataset_vocabulary(name) for name in cfg.DATASETS.TRAIN]
    unseen = cfg.INPUT.SEMANTIC.UNSEEN
    seen = [each.subset(seen_classes(each, unseen)) for each in found if each is not None]
    return functools.reduce(Vocabulary.union, seen) if seen else None
