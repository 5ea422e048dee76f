"""OVSeg: masks that somebody proposes, named by their maker and by CLIP.

Source: [ovseg] arXiv 2210.04150.

Shape shorthand: Q masks, K classes, R rows of text, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_d2.ops import (
    binarize_masks,
    class_lambdas,
    fused_bands,
    lambda_ensemble,
    merge_background,
)

from .images import each_image, evaluating
from .ovseg_classifier import OVSegClassifier
from .ovseg_proposals import MaskProposals, ProposalSource
from .pixel_scorer import PixelScorer, join_labels, join_scores, need_score_memory

__all__ = ["OTHERS", "OVSeg", "with_others"]

Size = tuple[int, int]

# What the demo mode calls all that none of the asked words is.
OTHERS = "others"


def with_others(words: Sequence[str]) -> list[str]:
    """The words with "others" behind them, for `OVSeg` in demo mode; once, if they have it."""
    return [*words] if OTHERS in words else [*words, OTHERS]


class OVSeg(PixelScorer):
    """Masks, each with the class probabilities p^(1 - lambda) q^lambda, summed at every pixel.

    p is what the masks' maker says, q what CLIP says of their crops. Makers without classes (SAM,
    the truth) leave the naming to q. What each row of the paper's table of oracles needs:

    =========================================  =================================================
    the truth's masks, named by CLIP           ``proposals=[truth_proposals(...)]``
    proposals, named by the truth              ``lam=0``, ``proposals=[oracle_proposals(...)]``
    =========================================  =================================================

    Paper: [ovseg] Sec. 3.1, Eq. (2), fused as in [maskformer].
    Departs: an image without any valid mask has p^(1 - lambda) alone, where the release fails.

    Args:
        source: makes the masks; None where each call brings its own.
        classifier: CLIP's opinion; None where ``lam`` is 0 for all classes.
        lam: lambda in [0, 1]: 0 is p alone, 1 is q alone.
        unseen_lam: lambda of the classes that the source was not trained on; None: the same.
        demo: for one or a few words: q alone, binary masks, and for each class only the mask that
            it fits best. Pixels outside of them are the last class: see `with_others`.
        official: the release's reading of ``lam=0``: q alone.
    """

    def __init__(
        self,
        source: ProposalSource | None,
        classifier: OVSegClassifier | None,
        *,
        lam: float = 0.7,
        unseen_lam: float | None = None,
        demo: bool = False,
        official: bool = False,
    ) -> None:
        """Keep the parts.

        Raises:
            ValueError: a lambda outside [0, 1], or no classifier where one is needed.
        """
        super().__init__()
        for name, value in (("lam", lam), ("unseen_lam", unseen_lam)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(
                    f"{name}={value} is outside [0, 1]; 0 are the proposals alone, 1 is CLIP alone"
                )
        self.source = source
        self.classifier = classifier
        self.lam = lam
        self.unseen_lam = unseen_lam
        self.demo = demo
        self.official = official
        if classifier is None and (self._asks_clip or demo):
            raise ValueError(
                f"lam={lam}, unseen_lam={unseen_lam}, demo={demo} ask for CLIP's opinion, and "
                "classifier is None; give one, or lam=0"
            )

    @torch.no_grad()
    def score_pixels(
        self,
        images: Tensor | Sequence[Tensor],
        text_embeds: Tensor,
        size: Size | Sequence[Size] | None = None,
        *,
        class_ids: Tensor | None = None,
        background_ids: Sequence[int] = (),
        seen: Tensor | None = None,
        proposals: Sequence[MaskProposals] | None = None,
    ) -> Tensor | list[Tensor]:
        """Score every pixel for every class; as `PixelScorer` does it, but for the last arguments.

        Args:
            images: as for `segment`, like all that follow.
            text_embeds: likewise.
            size: likewise.
            class_ids: likewise.
            background_ids: likewise.
            seen: likewise.
            proposals: likewise.

        Returns:
            (B, K, H, W) float32, or a list of (K, H, W).

        Raises:
            ValueError: as `segment`.
            ImageTooLargeError: memory does not suffice for the scores.
        """
        need_score_memory(images, size, text_embeds, class_ids)
        asked = (text_embeds, class_ids, background_ids, seen)
        with evaluating(self):
            found = self._bands_of_each(images, size, proposals, asked)
            return join_scores(found, stacked=isinstance(images, Tensor))

    @torch.no_grad()
    def segment(
        self,
        images: Tensor | Sequence[Tensor],
        text_embeds: Tensor,
        size: Size | Sequence[Size] | None = None,
        *,
        class_ids: Tensor | None = None,
        background_ids: Sequence[int] = (),
        seen: Tensor | None = None,
        proposals: Sequence[MaskProposals] | None = None,
    ) -> Tensor | list[Tensor]:
        """Label every pixel; as `PixelScorer` does it, but for the last arguments.

        Args:
            images: as for `PixelScorer.segment`, like the next four.
            text_embeds: likewise.
            size: likewise.
            class_ids: likewise.
            background_ids: likewise.
            seen: (K,) bool, the classes that the source was trained on; for ``unseen_lam``.
            proposals: the masks of each image, in place of the source's.

        Returns:
            (B, h, w) int64 class indices, or a list of (h, w).

        Raises:
            ValueError: what does not fit: text embeddings, images, sizes, masks or ``seen``; or
                no masks, because there is neither a source nor ``proposals``.
        """
        asked = (text_embeds, class_ids, background_ids, seen)
        with evaluating(self):
            found = self._bands_of_each(images, size, proposals, asked)
            return join_labels(found, stacked=isinstance(images, Tensor))

    @torch.no_grad()
    def sweep(
        self,
        image: Tensor,
        text_embeds: Tensor,
        lams: Sequence[float],
        size: Size | None = None,
        *,
        class_ids: Tensor | None = None,
        background_ids: Sequence[int] = (),
        proposals: MaskProposals | None = None,
    ) -> Iterator[Tensor]:
        """Score one image with one lambda after the other; masks are made and named once.

        Args:
            image: (3, H, W) RGB in 0..255.
            text_embeds: as for `segment`.
            lams: each in [0, 1], for all classes alike; demo mode and the system's own lambdas
                play no part.
            size: (h, w) of the scores; None means that of the image.
            class_ids: as for `segment`, like all that follow.
            background_ids: likewise.
            proposals: the image's masks, in place of the source's.

        Yields:
            (K, h, w) float32 for each lambda.

        Raises:
            ValueError: a lambda outside [0, 1], no classifier, or proposals without classes, of
                which no lambda makes a difference.
        """
        with evaluating(self):
            found = self._propose(image, text_embeds, class_ids, proposals)
            if found.probs is None or self.classifier is None:
                raise ValueError(
                    "a sweep over lambda weighs two opinions, and there is one; give proposals "
                    "with classes, and a classifier"
                )
            p = found.probs.float()
            clip = self.classifier(image, found.masks, text_embeds, class_ids=class_ids)
        masks = _resize(found.masks.float(), size)
        for lam in lams:
            probs = lambda_ensemble(p, clip.probs, clip.valid, lam, official=self.official)
            bands = fused_bands(probs, masks)
            yield torch.cat([merge_background(band, background_ids) for band in bands], dim=1)

    @torch.no_grad()
    def name_masks(
        self,
        image: Tensor,
        proposals: MaskProposals,
        text_embeds: Tensor,
        *,
        class_ids: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """Final class probabilities of the masks of one image.

        Args:
            image: (3, H, W) RGB in 0..255.
            proposals: its masks, of the image's size.
            text_embeds: as for `segment`.
            class_ids: as for `segment`.
            seen: as for `segment`.

        Returns:
            (Q, K) float32, rows not normalised: p^(1 - lambda) q^lambda; q, and zeros where a
            mask is empty, where the proposals know no classes.

        Raises:
            ValueError: as `segment`; or proposals without classes and no classifier.
        """
        p = proposals.probs
        if p is not None and not self._asks_clip and not self.demo:
            return p.float()
        if self.classifier is None:
            raise ValueError(
                "these proposals know no classes, and classifier is None; give a classifier"
            )
        clip = self.classifier(image, proposals.masks, text_embeds, class_ids=class_ids)
        if p is None or self.demo:
            return clip.probs
        return lambda_ensemble(
            p.float(), clip.probs, clip.valid, self._lambdas(seen, p), official=self.official
        )

    @property
    def _asks_clip(self) -> bool:
        return self.lam > 0 or bool(self.unseen_lam) or self.official

    def _lambdas(self, seen: Tensor | None, p: Tensor) -> float | Tensor:
        if self.unseen_lam is None:
            return self.lam
        if seen is None:
            raise ValueError(
                "unseen_lam needs to know which classes are seen; give seen, (K,) bool, or leave "
                "unseen_lam None"
            )
        return class_lambdas(seen.to(p.device), self.lam, self.unseen_lam)

    def _bands_of_each(
        self,
        images: Tensor | Sequence[Tensor],
        size: Size | Sequence[Size] | None,
        proposals: Sequence[MaskProposals] | None,
        asked: tuple[Tensor, Tensor | None, Sequence[int], Tensor | None],
    ) -> Iterator[Iterator[Tensor]]:
        if proposals is not None and len(proposals) != len(images):
            raise ValueError(
                f"{len(proposals)} proposals for {len(images)} images; give one for each"
            )
        for index, (image, out_size) in enumerate(each_image(images, size)):
            yield self._bands(image, out_size, *asked, proposals[index] if proposals else None)

    def _bands(
        self,
        image: Tensor,
        out_size: Size | None,
        text_embeds: Tensor,
        class_ids: Tensor | None,
        background_ids: Sequence[int],
        seen: Tensor | None = None,
        proposals: MaskProposals | None = None,
    ) -> Iterator[Tensor]:
        """Final scores (K, rows, W) of one image (3, H, W), band by band from the top."""
        found = self._propose(image, text_embeds, class_ids, proposals)
        probs = self.name_masks(image, found, text_embeds, class_ids=class_ids, seen=seen)
        masks = found.masks
        if self.demo:
            probs, masks = self._best_masks(probs, masks)
        for band in fused_bands(probs, _resize(masks.float(), out_size)):
            yield merge_background(band, background_ids)

    def _propose(
        self,
        image: Tensor,
        text_embeds: Tensor,
        class_ids: Tensor | None,
        proposals: MaskProposals | None,
    ) -> MaskProposals:
        if proposals is not None:
            return proposals
        if self.source is None:
            raise ValueError("there is no source of masks; give one, or proposals")
        return self.source(image, text_embeds, class_ids)

    def _best_masks(self, probs: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """For each class the mask that it fits best, and one that is the last class, the rest."""
        assert self.classifier is not None
        binary = binarize_masks(masks, self.classifier.crop.threshold)
        if len(probs):
            best = probs.argmax(dim=0).unique()
            probs, binary = probs[best], binary[best]
        rest = ~binary.any(dim=0, keepdim=True)
        last = probs.new_zeros(1, probs.shape[1])
        last[:, -1] = 1
        return torch.cat([probs, last]), torch.cat([binary, rest])


def _resize(masks: Tensor, size: Size | None) -> Tensor:
    """(Q, H, W) at another size, for a resized sum is the sum of resized masks."""
    if size is None or tuple(size) == tuple(masks.shape[1:]):
        return masks
    if len(masks) == 0:
        return masks.new_zeros(0, *size)
    return F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
